/* A layer between a process and the system's files: below one folder it counts everything that changes
   the disk, and fails from or at the k-th. Python, HDF5 and TensorStore all go through it.
   Build: cc -shared -fPIC -o faults.so faults.c -ldl; use: LD_PRELOAD=faults.so, then faults_arm(). */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ONCE, ONWARDS, ROOM, KILL }; /* only the k-th; all from it; those of them that take room; none */
#define MOST 65536

static char folder[PATH_MAX];
static long count, at;
static int number, how;
static char ours[MOST]; /* whether a descriptor is of a file below the folder */

void faults_arm(const char *below, long k, int error, int kind) {
    snprintf(folder, sizeof folder, "%s/", below);
    number = error, how = kind, at = k, count = 0;
}
long faults_count(void) { return count; }
void faults_rest(void) { folder[0] = 0; }

static int inside(int dir, const char *path) {
    char whole[2 * PATH_MAX], link[64];
    if (!folder[0] || !path) return 0;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s/", path);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t size = dir == AT_FDCWD ? readlink("/proc/self/cwd", whole, PATH_MAX) : readlink(link, whole, PATH_MAX);
        if (size < 0) return 0;
        snprintf(whole + size, sizeof whole - size, "/%s/", path);
    }
    return strncmp(whole, folder, strlen(folder)) == 0;
}

/* Whether the operation is to fail; the first to do so, where it writes, may leave half of its bytes. */
static int fails(int room, int *first) {
    long mine = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (first) *first = mine == at;
    if (mine < at || !at || (how == ONCE && mine > at) || (how == ROOM && !room)) return 0;
    if (how == KILL && !first) kill(getpid(), SIGKILL);
    errno = number;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int opened(int fd, int dir, const char *path) {
    if (fd >= 0 && fd < MOST) ours[fd] = inside(dir, path);
    return fd;
}
#define OPENS(name, arguments, given, dir)                                                            \
    int name arguments {                                                                              \
        va_list more;                                                                                 \
        va_start(more, flags);                                                                        \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;                     \
        va_end(more);                                                                                 \
        if (flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR) && inside(dir, path) && fails(1, NULL))   \
            return -1;                                                                                \
        return opened(REAL(name) given, dir, path);                                                   \
    }
OPENS(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)

#define ON_FILE(type, name, arguments, given, room)                                                   \
    type name arguments {                                                                             \
        if (folder[0] && fd >= 0 && fd < MOST && ours[fd] && fails(room, NULL)) return -1;            \
        return REAL(name) given;                                                                      \
    }
ON_FILE(int, fsync, (int fd), (fd), 1)
ON_FILE(int, fdatasync, (int fd), (fd), 1)
ON_FILE(int, ftruncate, (int fd, off_t size), (fd, size), 1)
ON_FILE(int, ftruncate64, (int fd, off_t size), (fd, size), 1)
ON_FILE(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), 1)
ON_FILE(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t from), (fd, data, size, from), 1)
ON_FILE(ssize_t, pwrite64, (int fd, const void *data, size_t size, off_t from), (fd, data, size, from), 1)

ssize_t write(int fd, const void *data, size_t size) {
    int first = 0;
    if (folder[0] && fd >= 0 && fd < MOST && ours[fd] && fails(1, &first)) {
        if (first && how != ONCE) REAL(write)(fd, data, size / 2);
        if (how == KILL) kill(getpid(), SIGKILL);
        errno = number;
        return -1;
    }
    return REAL(write)(fd, data, size);
}
int close(int fd) {
    if (fd >= 0 && fd < MOST) ours[fd] = 0;
    return REAL(close)(fd);
}

#define ON_PATH(name, arguments, given, dir, path, room)                                              \
    int name arguments {                                                                              \
        if (inside(dir, path) && fails(room, NULL)) return -1;                                        \
        return REAL(name) given;                                                                      \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, 1)
ON_PATH(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), dir, path, 1)
ON_PATH(unlink, (const char *path), (path), AT_FDCWD, path, 0)
ON_PATH(unlinkat, (int dir, const char *path, int flags), (dir, path, flags), dir, path, 0)
ON_PATH(rmdir, (const char *path), (path), AT_FDCWD, path, 0)
ON_PATH(rename, (const char *from, const char *to), (from, to), AT_FDCWD, to, 1)
ON_PATH(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), b, to, 1)
ON_PATH(link, (const char *from, const char *to), (from, to), AT_FDCWD, to, 1)
ON_PATH(symlink, (const char *from, const char *to), (from, to), AT_FDCWD, to, 1)
