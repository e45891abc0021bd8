"""Which points a search tries: hyperopt's tree of Parzen estimators over the ranges of model.yaml.

Bergstra, Bardenet, Bengio, Kegl: Algorithms for hyper-parameter optimization, NIPS 2011.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from hyperopt import STATUS_OK, Trials, hp, tpe
from hyperopt.base import JOB_STATE_DONE, Domain, spec_from_misc
from hyperopt.fmin import generate_trials_to_calculate, space_eval

from include.core.sections import Search, SearchRange

RANDOM_SHARE = 0.4
"""Share of the trials drawn at random before the estimator takes over (hyperopt's default is 20 trials)."""
Point = dict[str, float | int]


class Sampler:
    """Asked for points, and told what came of them.

    hyperopt's ``fmin`` asks for one point, waits, and asks again. Here several may be asked for at once. Those whose
    loss is not told yet count as bad ones, so that the next is drawn elsewhere. Asked for one at a time, the points are
    those of ``fmin``.
    """

    def __init__(self, search: Search) -> None:
        self._ranges = search.space
        self._space = {name: _space(name, limits) for name, limits in search.space.items()}
        self._domain = Domain(lambda point: None, self._space)
        self._suggest = partial(tpe.suggest, n_startup_jobs=max(1, round(search.trials * RANDOM_SHARE)), verbose=False)
        self._random = np.random.default_rng(search.seed)
        self._trials = generate_trials_to_calculate([dict(search.start)]) if search.start else Trials()
        self._trials.refresh()
        self._asked = 0

    def ask(self) -> Point:
        """The next point."""
        if self._asked == len(self._trials.trials):
            ids = self._trials.new_trial_ids(1)
            self._trials.refresh()
            seed = self._random.integers(2**31 - 1)
            self._trials.insert_trial_docs(self._suggest(ids, self._domain, self._trials, seed))
            self._trials.refresh()
        misc = self._trials.trials[self._asked]["misc"]
        self._asked += 1
        values = space_eval(self._space, spec_from_misc(misc))
        return {name: _plain(self._ranges[name], values[name]) for name in self._ranges}

    def tell(self, number: int, loss: float) -> None:
        """The loss of the point that was asked for as that one, counted from 0; the less the better."""
        told: Any = self._trials.trials[number]
        told["state"], told["result"] = JOB_STATE_DONE, {"loss": loss, "status": STATUS_OK}
        self._trials.refresh()


def _space(name: str, limits: SearchRange) -> Any:
    if limits.kind == "integer":
        return hp.uniformint(name, int(limits.low), int(limits.high))
    if limits.kind == "log_uniform":
        return hp.loguniform(name, float(np.log(limits.low)), float(np.log(limits.high)))
    return hp.uniform(name, limits.low, limits.high)


def _plain(limits: SearchRange, value: Any) -> int | float:
    return int(value) if limits.kind == "integer" else float(value)
