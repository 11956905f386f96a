"""The same gradient as one would write it with PyTorch and Gymnasium: the other side of gradient.py.

Processes share the batch out. Each steps its own MuJoCo environments one by one, asks the policy for
all their actions at once, and lets an environment whose episode is over begin the next trajectory.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from typing import Any

import numpy as np

ENVIRONMENTS = 16
"""In each process."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What to estimate: gymnasium's name of the environment, H, gamma."""

    name: str
    horizon: int
    discount: float


class Actor:
    """One process's environments and its copy of the policy: two tanh layers of 64, softplus std."""

    def __init__(self, setting: Setting, seed: int):
        import gymnasium
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.torch, self.setting = torch, setting
        limit = setting.horizon
        self.envs = [gymnasium.make(setting.name, max_episode_steps=limit) for _ in range(ENVIRONMENTS)]
        for i, env in enumerate(self.envs):
            env.reset(seed=1000 * seed + i)
        observations, actions = self.envs[0].observation_space.shape, self.envs[0].action_space.shape
        assert observations is not None
        assert actions is not None
        self.bound = torch.as_tensor(self.envs[0].action_space.high)
        linear, tanh = torch.nn.Linear, torch.nn.Tanh
        self.body = torch.nn.Sequential(linear(observations[0], 64), tanh(), linear(64, 64), tanh())
        self.heads = torch.nn.ModuleList([linear(64, actions[0]), linear(64, actions[0])])
        self.parameters = [*self.body.parameters(), *self.heads.parameters()]
        for layer in self.parameters:
            if layer.ndim == 2:
                torch.nn.init.normal_(layer, std=layer.shape[1] ** -0.5)
            else:
                torch.nn.init.zeros_(layer)

    def distribution(self, observation: Any) -> Any:
        x = self.body(observation)
        std = self.torch.nn.functional.softplus(self.heads[1](x)) + 1e-3
        return self.torch.distributions.Normal(self.heads[0](x), std)

    def load(self, values: list[np.ndarray]) -> None:
        with self.torch.no_grad():
            for layer, value in zip(self.parameters, values, strict=True):
                layer.copy_(self.torch.from_numpy(value))

    def values(self) -> list[np.ndarray]:
        return [layer.detach().numpy() for layer in self.parameters]

    def episodes(self, count: int) -> list[tuple[Any, Any, np.ndarray]]:
        """Observations, u and rewards of `count` trajectories."""
        torch = self.torch
        done: list[tuple[Any, Any, np.ndarray]] = []
        begun = min(len(self.envs), count)
        running = {i: ([self.envs[i].reset()[0]], [], []) for i in range(begun)}
        while running:
            now = torch.as_tensor(np.stack([r[0][-1] for r in running.values()]), dtype=torch.float32)
            with torch.no_grad():
                u = self.distribution(now).sample()
                action = (self.bound * torch.tanh(u)).numpy()
            for row, i in enumerate(list(running)):
                seen = running[i]
                observation, reward, terminated, truncated, _ = self.envs[i].step(action[row])
                seen[1].append(u[row])
                seen[2].append(reward)
                if not (terminated or truncated):
                    seen[0].append(observation)
                    continue
                states = torch.as_tensor(np.stack(seen[0]), dtype=torch.float32)
                done.append((states, torch.stack(seen[1]), np.asarray(seen[2])))
                if begun < count:
                    running[i], begun = ([self.envs[i].reset()[0]], [], []), begun + 1
                else:
                    del running[i]
        return done

    def gradient(self, count: int, batch: int) -> tuple[list[np.ndarray], int, float]:
        """This process's part of the mean g_H, steps in it, and its sum of returns."""
        torch, episodes = self.torch, self.episodes(count)
        weights = []
        for _, _, reward in episodes:
            discounted = reward * self.setting.discount ** np.arange(len(reward))
            weights.append(np.cumsum(discounted[::-1])[::-1])
        observation = torch.cat([e[0] for e in episodes])
        u = torch.cat([e[1] for e in episodes])
        to_go = torch.as_tensor(np.concatenate(weights), dtype=torch.float32)
        log_density = self.distribution(observation).log_prob(u).sum(dim=-1)
        surrogate = (to_go * log_density).sum() / batch
        gradient = torch.autograd.grad(surrogate, self.parameters)
        return [g.numpy() for g in gradient], len(to_go), float(sum(w[0] for w in weights))


def _serve(setting: Setting, seed: int, pipe: Any) -> None:
    actor = Actor(setting, seed)
    pipe.send(actor.values())
    while (asked := pipe.recv()) is not None:
        values, count, batch = asked
        actor.load(values)
        pipe.send(actor.gradient(count, batch))


class Loop:
    """Processes that share a batch; `gradient` is one estimate at the current parameters."""

    def __init__(self, setting: Setting, batch: int, processes: int = 2):
        context = multiprocessing.get_context("spawn")
        self.batch, self.counts = batch, [len(c) for c in np.array_split(np.arange(batch), processes)]
        pairs = [context.Pipe() for _ in range(processes)]
        self.pipes = [ours for ours, _ in pairs]
        self.processes = [
            context.Process(target=_serve, args=(setting, seed, theirs), daemon=True)
            for seed, (_, theirs) in enumerate(pairs)
        ]
        for process in self.processes:
            process.start()
        self.values = [pipe.recv() for pipe in self.pipes][-1]

    def gradient(self) -> tuple[list[np.ndarray], int, float]:
        """Mean g_H over the batch, steps in it, mean discounted return."""
        for pipe, count in zip(self.pipes, self.counts, strict=True):
            pipe.send((self.values, count, self.batch))
        parts = [pipe.recv() for pipe in self.pipes]
        gradient = [np.sum(g, axis=0) for g in zip(*(p[0] for p in parts), strict=True)]
        return gradient, sum(p[1] for p in parts), sum(p[2] for p in parts) / self.batch

    def ascend(self, stepsize: float) -> None:
        """One normalised step."""
        gradient = self.gradient()[0]
        norm = np.sqrt(sum(float((g**2).sum()) for g in gradient))
        values = zip(self.values, gradient, strict=True)
        self.values = [(v + stepsize * g / norm).astype(np.float32) for v, g in values]

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join()
