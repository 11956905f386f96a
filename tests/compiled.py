"""How many programs a jitted function has compiled since it was told to forget them."""


def cleared(*functions):
    """Clear the caches of jitted functions, and return a question: how many programs each has added.

    JAX may keep programs of earlier tests all the same, which do not count.
    """
    for function in functions:
        function.clear_cache()
    known = [function._cache_size() for function in functions]

    def added():
        sizes = [function._cache_size() for function in functions]
        return tuple(now - before for now, before in zip(sizes, known, strict=True))

    return added
