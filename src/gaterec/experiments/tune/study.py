"""The memory of a search: an Optuna study, in which every trial is kept the moment it ends, and which says what to try next.

Trials are numbered from 0 on, and each number is there once: a trial that was begun and not ended is begun again under its number. What trial n
tries depends on the seed and on n alone for the grid and for random search, and on what is known so far for TPE.

Akiba et al., Optuna: a next-generation hyperparameter optimization framework, KDD 2019. Bergstra et al., Algorithms for hyper-parameter
optimization, NeurIPS 2011 (TPE). Li et al., Hyperband, JMLR 2018.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from gaterec.config.paths import expanded
from gaterec.errors import RunError, SettingsError
from gaterec.experiments.tune.search_space import Space
from gaterec.experiments.tune.trials import State, Trial
from gaterec.io.database_urls import first_line, shown
from gaterec.training.reproducibility import hash_seed

Sampler = Literal["grid", "random", "tpe"]
Pruner = Literal["none", "median", "hyperband"]

IDENTITY, OUTCOME = "gaterec", "outcome"
"""The attribute of a study that says what is searched, and that of a trial that says what it came to."""
SHUFFLED = 1_000_000
"""The points of a grid of up to so many are put into a random order; those of a larger one are drawn."""
DRAWS = 1000
"""So many draws in a row that were all there before, and random search takes the space for used up."""


class Study:
    """The trials of one search. Not for several threads at a time.

    Args:
        storage: an Optuna address (sqlite:///..., postgresql://...); see storage_address.
        name: of the study.
        identity: what is searched and how; a study of that name with another identity is refused.
        space: what is searched.
        sampler, pruner: what chooses the next point, and what ends hopeless trials.
        seed: of the sampler.
        bigger: whether more of the metric is better.
        costs: whether there is a second objective, of which less is better.
        epochs: how many a trial may have, for the pruner.
        alone: whether the storage holds this study alone.

    Raises:
        RunError: the storage can't be opened, or belongs to another search.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        identity: Mapping[str, Any],
        space: Space,
        *,
        sampler: Sampler,
        pruner: Pruner,
        seed: int,
        bigger: bool,
        costs: bool,
        epochs: int,
        alone: bool,
    ) -> None:
        import optuna

        self._optuna, self.space, self.sampler, self.seed, self.costs, self.bigger = optuna, space, sampler, seed, costs, bigger
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        directions: list[Any] = ["maximize" if bigger else "minimize", *(["minimize"] if costs else [])]
        self._unlock: Callable[[], object] = lambda: None
        with ExitStack() as failing, _told(storage):
            _check_file(storage)
            self._storage = optuna.storages.RDBStorage(storage)
            failing.callback(self.close)
            names = optuna.study.get_all_study_names(self._storage)
            others = [other for other in names if other != name]
            if alone and others:
                raise RunError(f"storage: {shown(storage)}: belongs to another search, {others[0]}; give another --storage or --out")
            self._study = optuna.create_study(
                storage=self._storage, study_name=name, directions=directions, load_if_exists=True, pruner=_pruner(optuna, pruner, epochs)
            )
            self._unlock = _locked(self._storage, name)
            if name not in names:
                self._study.set_user_attr(IDENTITY, dict(identity))
            check_same(f"storage: {shown(storage)}", self._study.user_attrs.get(IDENTITY, {}), identity)
            failing.pop_all()
        self._points = space.points() if sampler == "grid" else self._drawn() if sampler == "random" else None
        self._behind = 0

    def next(self, limit: int, ours: Sequence[int]) -> Trial | None:
        """The next trial, which is kept as running from now on: one that was left unfinished, else a new one; None when there are enough.

        Args:
            limit: how many trials there are to be at most.
            ours: the numbers of those that are running right now and not left unfinished.
        """
        trials = self._study.get_trials(deepcopy=False)
        states = self._optuna.trial.TrialState
        for trial in trials:
            if trial.state == states.RUNNING and trial.number not in ours:
                return self._read(trial)
        waiting = any(trial.state == states.WAITING for trial in trials)  # the search was killed between the last two lines below
        if not waiting and len(trials) >= limit:
            return None
        if self._points is None:
            self._study.sampler = self._optuna.samplers.TPESampler(seed=self._seed_of(len(trials)), constant_liar=bool(ours))
        elif not waiting:
            point = next(islice(self._points, len(trials) - self._behind, None), None)
            self._behind = len(trials) + 1
            if point is None:
                return None
            self._study.enqueue_trial(self.space.params(point))
        with _quiet():
            number = self._study.ask(self.space.distributions()).number
        return self._read(self._frozen(number))

    def same_as(self, trial: Trial) -> Trial | None:
        """An earlier finished trial of the same point: it would come to the same, so it needs no second training."""
        for other in self.trials():
            if other.number != trial.number and other.state == "done" and dict(other.chosen) == dict(trial.chosen):
                return other
        return None

    def epoch(self, number: int, epoch: int, value: float) -> tuple[bool, dict[int, float]]:
        """Take note of a trial's validation figure; whether the pruner takes the trial for hopeless, and all figures so far by epoch."""
        frozen = self._frozen(number)
        trial: Any = self._optuna.trial.Trial(self._study, frozen._trial_id)
        if epoch not in frozen.intermediate_values:  # a trial that goes on may tell again what was known before it was killed
            trial.report(value, epoch)
        return bool(trial.should_prune()), {**frozen.intermediate_values, epoch: value}

    def end(self, trial: Trial) -> None:
        """Keep what a trial came to."""
        states = self._optuna.trial.TrialState
        state = {"done": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[trial.state]
        frozen = self._frozen(trial.number)
        outcome = {name: getattr(trial, name) for name in ("score", "cost", "valid", "best_epoch", "curve", "seconds", "reason", "worker")}
        self._optuna.trial.Trial(self._study, frozen._trial_id).set_user_attr(OUTCOME, outcome)
        values = [trial.score, *([trial.cost] if self.costs else [])] if trial.state == "done" else None
        with _quiet():
            self._study.tell(trial.number, values, state)  # type: ignore[arg-type]

    def trials(self) -> list[Trial]:
        """All trials so far, in the order of their numbers."""
        waiting = self._optuna.trial.TrialState.WAITING
        return [self._read(trial) for trial in self._study.get_trials(deepcopy=False) if trial.state != waiting]

    def importance(self) -> dict[str, float]:
        """Setting -> its share in what makes trials good (PED-ANOVA: Watanabe et al., IJCAI 2023); empty where too few trials are done."""
        done = [trial for trial in self.trials() if trial.state == "done" and trial.score is not None]
        if len(done) < 10 or len({trial.score for trial in done}) < 2:
            return {}
        with _quiet():
            found = self._optuna.importance.get_param_importances(
                self._study,
                # At least five good trials, as its authors say.
                evaluator=self._optuna.importance.PedAnovaImportanceEvaluator(target_quantile=max(0.1, 5 / len(done))),
                target=lambda trial: -trial.values[0] if self.bigger else trial.values[0],  # it takes less for better
            )
        total = sum(found.values())
        return {name: value / total for name, value in found.items()} if total > 0 else {}

    def close(self) -> None:
        """Let go of the storage."""
        self._unlock()
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _frozen(self, number: int) -> Any:
        return self._study.get_trials(deepcopy=False)[number]

    def _read(self, trial: Any) -> Trial:
        states = self._optuna.trial.TrialState
        names: dict[Any, State] = {
            states.COMPLETE: "done",
            states.PRUNED: "pruned",
            states.FAIL: "failed",
            states.RUNNING: "running",
        }
        outcome = dict(trial.user_attrs.get(OUTCOME, {})) if trial.state != states.RUNNING else {}
        outcome["curve"] = [(int(epoch), value) for epoch, value in outcome.get("curve", [])]
        return Trial(trial.number, names[trial.state], self.space.values(trial.params), **outcome)

    def _seed_of(self, number: int) -> int:
        return hash_seed(self.seed, number) % 2**32

    def _drawn(self) -> Iterator[dict[str, Any]]:
        """Points at random, all different, always the same ones for a seed."""
        if self.space.size is not None and self.space.size <= SHUFFLED:
            order = np.random.default_rng(self._seed_of(0)).permutation(self.space.size)
            yield from (self.space.point(int(number)) for number in order)
            return
        drawer = self._optuna.create_study(sampler=self._optuna.samplers.RandomSampler(seed=self._seed_of(0)))
        distributions, seen, misses = self.space.distributions(), set(), 0
        while misses < DRAWS:
            with _quiet():
                params = drawer.ask(distributions).params
            key = json.dumps(params, sort_keys=True)
            misses = misses + 1 if key in seen else 0
            if not misses:
                seen.add(key)
                yield self.space.values(params)


def storage_address(storage: str | Path | None, folder: Path) -> tuple[str, bool]:
    """The address of an Optuna storage, and whether it is a file that one search has for itself.

    Args:
        storage: an address such as postgresql://user@host/database, a file for SQLite, or None for a file in `folder`.

    Raises:
        SettingsError: it names another kind of database.
    """
    if storage is None:
        return _address(folder.absolute() / "trials.db"), True
    text = str(storage)
    if "://" not in text:
        return _address(expanded(text, "storage").absolute()), True
    kind, _, rest = text.partition("://")
    if kind == "sqlite" and rest.strip("/"):
        return text, True
    if kind in {"postgresql", "postgres", "postgresql+psycopg"}:
        try:
            import psycopg  # noqa: F401
        except ImportError:
            raise SettingsError("storage: the driver for PostgreSQL is not installed; pip install 'gaterec[postgres]'") from None
        return f"postgresql+psycopg://{rest}", False
    raise SettingsError(f"storage: expected a file, or an address that begins with postgresql:// or sqlite:///, found {shown(text)}")


def _address(file: Path) -> str:
    """The address of an SQLite file, whatever its name.

    Raises:
        SettingsError: this version of SQLAlchemy, or Optuna, which takes braces for places to fill in, has no address for it.
    """
    from sqlalchemy import make_url

    for text in (str(file), quote(str(file))):
        if not set("{}") & set(text) and make_url(f"sqlite:///{text}").database == str(file):
            return f"sqlite:///{text}"
    raise SettingsError(f"storage: {file}: expected a path without ?, %, {{ and }}; give another --storage")


def check_same(where: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise RunError, naming what differs, unless two searches are the same."""
    differing = [name for name in {**before, **now} if json.dumps(before.get(name)) != json.dumps(now.get(name))]
    if differing:
        name = differing[0]
        raise RunError(
            f"{where}: belongs to another search: {name} was {_short(before.get(name))}, is {_short(now.get(name))}; "
            "give another --out, or leave it out"
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _pruner(optuna: Any, name: Pruner, epochs: int) -> Any:
    if name == "median":
        return optuna.pruners.MedianPruner(n_warmup_steps=max(epochs // 10, 2))
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(epochs, 1))
    return optuna.pruners.NopPruner()


@contextmanager
def _told(storage: str) -> Iterator[None]:
    """Tells in one line what is wrong with a storage."""
    import sqlalchemy.exc

    try:
        with _quiet():
            yield
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError, ValueError, OSError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        told = first_line(getattr(cause, "orig", None) or cause, storage)
        raise RunError(f"storage: {shown(storage)}: can't be used: {told}; give another --storage") from None


def _check_file(storage: str) -> None:
    """Keep Optuna, which makes its tables in any database, away from one of another program.

    Raises:
        RunError: it is a file with tables of something else.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(storage)
    try:
        if engine.dialect.name == "sqlite" and Path(engine.url.database or "").exists():
            tables = sqlalchemy.inspect(engine).get_table_names()
            if tables and "studies" not in tables:
                raise RunError(f"storage: {shown(storage)}: is a database of another program (it has {tables[0]}); give another --storage")
    finally:
        engine.dispose()


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna warns of what is meant here: features that it calls experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _locked(storage: Any, name: str) -> Callable[[], object]:
    """Keeps a study for this process; what it gives lets go of it, and so does the end of the process.

    Raises:
        RunError: another process has it.
    """
    busy = f"storage: another process is running the search {name}; wait for its end"
    if storage.engine.dialect.name == "sqlite":
        return _locked_file(Path(f"{storage.engine.url.database}.lock"), busy)  # not the database, whose locks are SQLite's own
    import sqlalchemy

    connection = storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()  # from the pool, which would keep it open, and with it the lock
    got = connection.execute(sqlalchemy.text("select pg_try_advisory_lock(hashtext(:name))"), {"name": name}).scalar()
    close: Callable[[], object] = connection.close
    if not got:
        close()
        raise RunError(busy)
    return close


def _locked_file(place: Path, busy: str) -> Callable[[], object]:
    try:
        import fcntl
    except ImportError:  # a system without such locks
        return lambda: None
    file = place.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunError(busy) from None
    except OSError:  # a disk without such locks
        pass
    return file.close
