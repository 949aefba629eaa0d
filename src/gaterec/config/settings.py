"""Every setting: its name, type, range, default and meaning. The names are RecBole's; what RecBole lacks has a new one.

Where values come from, and which source wins, is gaterec.config.resolve. The settings of a model stand in its own file, above the model.
"""

import datetime
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, field_validator, model_validator

from gaterec.config.intervals import parse_intervals
from gaterec.config.loss_names import SHARED_NEGATIVES, Loss, known_loss
from gaterec.config.metric_names import SMALLER_IS_BETTER, Metric, _metrics_named, split_metric
from gaterec.config.section import Section
from gaterec.errors import short


def as_interval(value: Any) -> Any:
    """RecBole's notation of an interval that Python or YAML has read as a list or a tuple of two numbers or dates.

    >>> as_interval([9, 12]), as_interval((8, 12)), as_interval(["a", "b"])
    ('[9,12]', '(8,12)', ['a', 'b'])
    """
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_bound, value)):
        opening, closing = "[]" if isinstance(value, list) else "()"
        return f"{opening}{value[0]},{value[1]}{closing}"
    return value


def _is_bound(value: Any) -> bool:
    if isinstance(value, datetime.date):
        return True
    try:
        return not isinstance(value, bool) and isinstance(value, int | float | str) and not math.isnan(float(value))
    except (ValueError, OverflowError):
        return False


def _is_end(value: Any) -> bool:
    """Whether a list of two values is an interval because this is one of them: a date without quotes, or infinity."""
    return isinstance(value, datetime.date) or (isinstance(value, float) and math.isinf(value))


def none_word(value: Any) -> Any:
    """RecBole's files write None, ~ or nothing for "not set"."""
    return None if isinstance(value, str) and value.strip() in {"None", "none", "~", ""} else value


def _none_in_words(value: Any) -> Any:
    return "none" if value is None else _lower(value)


def _user_or_none(value: Any) -> Any:
    value = none_word(value)
    if value not in ("user", None):
        raise ValueError(f"expected user or none, and no name of a column, found {short(value)}")
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


def _tab(value: Any) -> Any:
    return value.replace("\\t", "\t") if isinstance(value, str) else value


def _names(value: Any) -> Any:
    """A list of names, or the names with commas between them."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def _missing_words(value: Any) -> Any:
    """As _names; YAML and Python read some of the words as null."""
    value = [] if value is None else _names(value)
    return ["null" if word is None else word for word in value] if isinstance(value, list | tuple) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _count_interval(value: Any) -> Any:
    """The notation of an interval of counts, checked."""
    value = as_interval(none_word(value))
    if value is not None and not isinstance(value, str):
        at_least = f"; '[{value},inf)' means at least {value}" if type(value) is int and 0 <= value < 10**12 else ""
        raise ValueError(f"expected an interval such as '[5,inf)' or '[9,12]', found {short(value)}{at_least}")
    if value is not None and any(interval.dates for interval in parse_intervals(value)):
        raise ValueError(f"expected an interval of numbers of events, such as '[5,inf)', found dates: {short(value)}")
    return value


def _value_intervals(value: Any) -> Any:
    """Per column an interval as text, or a list of values; dates become text."""
    value = none_word(value)
    return {column: _wanted_values(column, wanted) for column, wanted in value.items()} if isinstance(value, Mapping) else value


def _wanted_values(column: object, wanted: Any) -> Any:
    if isinstance(wanted, tuple) or (isinstance(wanted, list) and any(map(_is_end, wanted))):
        wanted = as_interval(wanted)
    name = column if isinstance(column, str) else short(column)
    if isinstance(wanted, str):
        try:
            parse_intervals(wanted)
        except ValueError as error:
            text = "" if wanted.lstrip()[:1] in ("[", "(") else f"; for text write a list: {short([wanted])}"
            raise ValueError(f"{name}: {error}{text}") from None
        return wanted
    wanted = [str(one) if isinstance(one, datetime.date) else one for one in wanted] if isinstance(wanted, list | tuple) else wanted
    wanted = [str(one).lower() if isinstance(one, bool) else one for one in wanted] if isinstance(wanted, list) else wanted
    plain = isinstance(wanted, list) and all(isinstance(one, str | int | float) for one in wanted)
    if not plain or not wanted:
        raise ValueError(
            f"{name}: expected an interval such as '[5,inf)' for numbers, or a list such as ['buy'] for text, found {short(wanted)}"
        )
    return wanted


def _own_files(value: Any) -> Any:
    """Columns by file, without those of RecBole's files that gaterec does not read: of knowledge graphs and of social networks."""
    value = none_word(value)
    if isinstance(value, list | tuple):
        raise ValueError(f"expected a dictionary such as {{'inter': ['user_id', 'item_id']}}, found {short(value)}")
    return {kind: names for kind, names in value.items() if kind not in ("kg", "link", "net")} if isinstance(value, Mapping) else value


Columns = Annotated[dict[Literal["inter", "user", "item"], list[str] | Literal["*"]] | None, BeforeValidator(_own_files)]
IntervalText = Annotated[str | None, BeforeValidator(_count_interval)]


MISSING_WORDS = (
    "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NaT", "null", "NULL", "Null", "None", "none", "\\N", "(null)", "(NULL)", "#NULL!",
)  # fmt: skip
"""Words for a missing value: those of pandas, MySQL's \\N, and what other programs write."""


class Environment(Section):
    model: str = Field("HGN", description="the model; `gaterec models` lists them")
    dataset: str = Field("demo", description="a known dataset, a folder of data_path, or a file; `gaterec datasets` lists the known")
    data_path: str = Field("dataset/", description="the folder with NAME/NAME.inter")
    checkpoint_dir: str = Field("saved", description="the folder in which the run's folder is made")
    use_gpu: bool = Field(True, description="use CUDA when it is there")
    gpu_id: str = Field("0", description="which GPU; -1 means use_gpu: false")
    seed: int = Field(2020, ge=0, lt=2**63, description="start of all randomness")
    reproducibility: bool = Field(True, description="the same bits again with the same settings; false may use anything faster")
    state: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = Field(
        "INFO", description="how much is printed beside the answer of a command: WARNING leaves out progress, ERROR leaves out notes too"
    )
    show_progress: bool = Field(True, description="progress bars on a terminal")
    log_wandb: bool = Field(False, description="log to Weights & Biases (extra wandb)")
    wandb_project: str = Field("gaterec", description="the Weights & Biases project")
    log_tensorboard: bool = Field(False, description="log for TensorBoard beside the run's folder (extra tensorboard)")
    index: Annotated[Literal["none", "hnsw", "ivf"], BeforeValidator(_none_in_words)] = Field(
        "none", description="an approximate index in the run folder, for very large catalogs (extra index); docs/recommending.md"
    )

    @model_validator(mode="before")
    @classmethod
    def _no_gpu(cls, values: Any) -> Any:
        """RecBole's gpu_id -1, or no number, computes on the CPU."""
        if isinstance(values, dict) and str(values.get("gpu_id", 0)).strip() in ("-1", ""):
            return {name: value for name, value in values.items() if name != "gpu_id"} | {"use_gpu": False}
        return values

    @field_validator("gpu_id")
    @classmethod
    def _one_gpu(cls, value: str) -> str:
        if not re.fullmatch(r"\s*\d{1,4}\s*", value, re.ASCII):
            raise ValueError(f"expected the number of one GPU, such as 0, found {value!r}")
        return value


class Data(Section):
    field_separator: Annotated[str, BeforeValidator(_tab)] = Field(
        "\t",
        min_length=1,
        max_length=1,
        description="between columns of atomic files; of other text files too when it is not a tab (by default the one that their first line holds: of comma, tab, semicolon, bar)",
    )
    seq_separator: Annotated[str, BeforeValidator(_tab)] = Field(
        " ", min_length=1, max_length=1, description="inside token_seq and float_seq columns"
    )
    USER_ID_FIELD: str = Field("user_id", min_length=1, description="the column of user ids")
    ITEM_ID_FIELD: str = Field("item_id", min_length=1, description="the column of items")
    RATING_FIELD: str = Field(
        "rating", min_length=1, description="the column of ratings; nothing is trained on it (filter by it with val_interval)"
    )
    TIME_FIELD: str = Field(
        "timestamp",
        min_length=1,
        description="the column of times; without one, the order of the file is the order of events",
    )
    column_names: Annotated[list[Annotated[str, Field(min_length=1)]] | None, BeforeValidator(_names), BeforeValidator(none_word)] = Field(
        None,
        min_length=2,
        description="the columns of a text file without a header line, in their order; null takes the first line for names",
    )
    missing_ids: Annotated[list[str], BeforeValidator(_missing_words)] = Field(
        list(MISSING_WORDS),
        description="words that stand for a missing user or item: such rows are dropped, with a note, as rows with an empty id are; [] takes all words as ids",
    )
    missing_time: Literal["refuse", "drop"] = Field("refuse", description="rows without a time: refuse the log, or drop them, with a note")
    load_col: Columns = Field(None, description="columns to read, by file; null reads all. The time column is always read")
    unload_col: Columns = Field(None, description="columns not to read, by file")
    unused_col: Columns = Field(None, description="columns read for filtering alone; no further column is ever trained on")
    rm_dup_inter: Annotated[Literal["first", "last"] | None, BeforeValidator(none_word)] = Field(
        None, description="of equal (user, item) pairs keep the first or the last in time; null keeps all"
    )
    val_interval: Annotated[dict[str, str | list[int | float | str]] | None, BeforeValidator(_value_intervals)] = Field(
        None,
        description="keep events by value: {'rating': '[4,inf)'} for numbers (a list of two, [3, 5], is the interval from 3 to 5), '[2024-01-01,2024-12-31]' for dates, {'kind': ['buy']} for text",
    )
    filter_inter_by_user_or_item: bool = Field(
        True, description="with a .user or .item file, drop the events of users or items that it lacks"
    )
    user_inter_num_interval: IntervalText = Field(
        "[0,inf)", description="keep users with a number of events in this interval; repeated with the item filter until both hold"
    )
    item_inter_num_interval: IntervalText = Field("[0,inf)", description="keep items with a number of events in this interval")
    MAX_ITEM_LIST_LENGTH: int = Field(50, ge=1, le=100_000, description="how many of the latest events a query sees (L)")

    @model_validator(mode="after")
    def _one_of_load_and_unload(self) -> "Data":
        both = set(self.load_col or {}) & set(self.unload_col or {})
        if both:
            raise ValueError(
                f"load_col and unload_col both speak of {', '.join(sorted(both))}: say what to read or what to leave, not both"
            )
        return self


class NegativeSampling(Section):
    """How wrong answers are drawn for the losses that need some."""

    distribution: Literal["uniform", "popularity"] = Field("uniform", description="every item alike, or by its count in training")
    sample_num: int = Field(
        1,
        ge=1,
        le=100_000,
        description="negatives per target; of losses that share them per step: SSM 1024, gBCE 256, BPRmax and TOP1max 2048 unless it is given",
    )
    alpha: float = Field(1.0, ge=0.0, le=10.0, description="popularity: the count to this power")
    dynamic: bool = Field(False, description="of candidate_num draws take the one that the model scores highest")
    candidate_num: int = Field(0, ge=0, le=10_000, description="draws per negative when dynamic")

    @model_validator(mode="after")
    def _dynamic_needs_candidates(self) -> "NegativeSampling":
        if self.dynamic and self.candidate_num < 1:
            raise ValueError("dynamic needs candidate_num of at least 1")
        return self


class ClipGradNorm(Section):
    max_norm: float = Field(gt=0, description="the largest norm of all gradients together")
    norm_type: float = Field(2.0, gt=0, description="which norm")


class Training(Section):
    recipe: Annotated[str | None, BeforeValidator(none_word)] = Field(
        None, description="named settings, overridden by every other source; `gaterec recipes` lists them"
    )
    loss_type: Annotated[Loss, PlainValidator(known_loss)] = Field(
        "CE",
        description="CE: cross-entropy over the whole catalog; BPR: separate negatives for each target; SSM (sampled softmax), gBCE, BPRmax and TOP1max: negatives shared by a step; docs/losses.md",
    )
    epochs: int = Field(300, ge=0, le=1_000_000, description="passes over the training events, at most")
    train_batch_size: int = Field(2048, ge=1, le=10_000_000, description="training targets per step")
    learner: Annotated[Literal["adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"], BeforeValidator(_lower)] = Field(
        "adam", description="the optimizer"
    )
    learning_rate: float = Field(0.001, gt=0, le=1000, description="its step size")
    weight_decay: float = Field(0.0, ge=0, le=1000, description="L2 penalty in the optimizer (adamw: decoupled)")
    clip_grad_norm: Annotated[ClipGradNorm | None, BeforeValidator(none_word)] = Field(
        None, description="{'max_norm': 5} cuts long gradients; null does not"
    )
    sparse_updates: Literal["auto", True, False] = Field(
        "auto",
        description="adam moves only the rows of the tables that a step touches, as sparse_adam does; auto: where a step touches less than a tenth of a table of more than 200,000 rows",
    )
    train_neg_sample_args: Annotated[NegativeSampling | None, BeforeValidator(none_word)] = Field(
        None,
        description="the negatives; null means uniform ones, BPR 1, SSM 1024, gBCE 256, BPRmax and TOP1max 2048. CE needs none and says so",
    )
    negatives_may_be_own: bool = Field(
        True,
        description="whether the negatives of a user may include the user's own training items; the default of model BPR is false; must be true for losses whose negatives a step shares",
    )
    learning_rate_schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="learning-rate decay to 0 over all epochs, or constant"
    )
    warmup_epochs: float = Field(0.0, ge=0, le=1_000_000, description="linear learning-rate warm-up, in epochs")
    gbce_t: float = Field(0.75, ge=0, le=1, description="gBCE: 0 is plain binary cross-entropy, 1 calibrates the scores fully")
    bprmax_reg: float = Field(
        1.0, ge=0, le=1000, description="BPRmax: weight of what keeps the scores of the negatives near the top near zero"
    )
    next_items: int = Field(1, ge=1, le=1000, description="how many of the following items each query is trained on (the paper's T)")
    eval_step: int = Field(
        1,
        ge=0,
        le=1_000_000,
        description="validate after every this many epochs; if above epochs, once after the last epoch; 0 never. Epochs after the last validation are trained, but not kept",
    )
    stopping_step: int = Field(
        10, ge=0, le=1_000_000, description="stop after more than this many validations in a row without a better one"
    )
    shuffle: bool = Field(True, description="a new order of the training rows in every epoch")
    enable_amp: bool = Field(False, description="compute in bfloat16 where that is safe")
    loss_decimal_place: int = Field(4, ge=0, le=17, description="decimals of printed losses")

    @field_validator("train_neg_sample_args", mode="before")
    @classmethod
    def _no_distribution_means_none(cls, value: Any) -> Any:
        """RecBole's `{'distribution': 'none', ...}` is its long way to say null."""
        if isinstance(value, Mapping) and none_word(value.get("distribution", "uniform")) is None:
            return None
        if isinstance(value, Mapping) and len(value) == 1 and (kind := next(iter(value))) in ("uniform", "popularity"):
            raise ValueError(f"expected {{'distribution': {kind!r}, 'sample_num': {short(value[kind])}}}, found {short(value)}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _as_many_negatives_as_the_loss_needs(cls, values: Any) -> Any:
        """Unless it was said, sample_num is the loss's own."""
        if not isinstance(values, dict) or not isinstance(given := values.get("train_neg_sample_args"), Mapping):
            return values
        usual = SHARED_NEGATIVES.get(str(values.get("loss_type")))
        return values if usual is None else {**values, "train_neg_sample_args": {"sample_num": usual, **given}}

    @model_validator(mode="after")
    def _shared_negatives_suit_all(self) -> "Training":
        if self.loss_type in SHARED_NEGATIVES:
            shares = f"{self.loss_type} draws its negatives once for all targets of a step"
            if not self.negatives_may_be_own:
                raise ValueError(
                    f"negatives_may_be_own: {shares}, so nobody's own items can be left out; set it to true, or loss_type to BPR"
                )
            if self.negatives.dynamic:
                raise ValueError(
                    f"train_neg_sample_args.dynamic: {shares} and never by their scores; leave it out, or set loss_type to BPR"
                )
        return self

    @property
    def negatives(self) -> NegativeSampling:
        """How negatives are drawn when the loss needs some."""
        return self.train_neg_sample_args or NegativeSampling(sample_num=SHARED_NEGATIVES.get(self.loss_type, 1))


class EvalArgs(Section):
    """The protocol: which events are held out, and what a query is asked for."""

    split: dict[Literal["LS", "RS", "TS"], Any] = Field(
        {"LS": "valid_and_test"},
        description="{'LS': 'valid_and_test' | 'valid_only' | 'test_only'} leaves one event out for each; {'RS': [8,1,1]} by shares; {'TS': [8,1,1]} tests on what comes after one moment for all",
    )
    group_by: Annotated[Literal["user"] | None, BeforeValidator(_user_or_none)] = Field(
        "user", description="split each user's history (user), or all events at one time (none)"
    )
    order: Literal["TO", "RO"] = Field("TO", description="order of events: by time (TO), or random (RO)")
    mode: dict[Literal["valid", "test"], str] = Field(
        {"valid": "full", "test": "full"},
        description="rank the whole catalog (full), or against N sampled items: uni100, pop100",
    )
    target: Literal["next", "all"] = Field(
        "next",
        description="next: one query before each held-out event; all: one query at the end of the history, every held-out event counts (the HGN paper)",
    )

    @field_validator("split")
    @classmethod
    def _one_split(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(value) != 1:
            raise ValueError("expected exactly one of LS, RS, TS")
        ((kind, how),) = value.items()
        if kind == "LS":
            if how not in ("valid_and_test", "valid_only", "test_only"):
                raise ValueError(f"LS: expected valid_and_test, valid_only or test_only, found {how!r}")
            return value
        numbers = (
            isinstance(how, list | tuple)
            and len(how) == 3
            and all(isinstance(share, int | float) and not isinstance(share, bool) and math.isfinite(share) and share >= 0 for share in how)
        )
        if not numbers or how[0] <= 0:
            raise ValueError(f"{kind}: expected three shares for training, validation and test, such as [0.8, 0.1, 0.1], found {how!r}")
        return {kind: [float(share) for share in how]}

    @field_validator("mode", mode="before")
    @classmethod
    def _one_mode_for_both(cls, value: Any) -> Any:
        return {"valid": value, "test": value} if isinstance(value, str) else value

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, value: dict[str, str]) -> dict[str, str]:
        for mode in value.values():
            if mode == "labeled":
                raise ValueError("labeled: every event is a choice here, there are no labelled non-choices to rank")
            if not re.fullmatch(r"full|(uni|pop)[1-9]\d{0,6}", mode):
                raise ValueError(f"expected full, uniN or popN (say uni100), found {mode!r}")
        return {"valid": value.get("valid", "full"), "test": value.get("test", "full")}

    @model_validator(mode="after")
    def _grouping_fits_the_split(self) -> "EvalArgs":
        if self.group_by is None and "RS" not in self.split:
            raise ValueError("group_by none goes with split RS: LS and TS cut each user's history")
        if self.order == "RO" and "TS" in self.split:
            raise ValueError("order RO has no moments to cut at: split TS needs order TO")
        return self


class Evaluation(Section):
    protocol: Annotated[str | None, BeforeValidator(none_word)] = Field(
        None, description="the settings of this part under one name, which any other source changes; `gaterec protocols` lists them"
    )
    eval_args: EvalArgs = Field(EvalArgs(), description="the protocol")
    repeatable: bool = Field(True, description="true: items seen before may be recommended again; false: they are left out of the ranking")
    metrics: list[Metric] = Field(["Recall", "MRR", "NDCG", "Hit", "Precision"], min_length=1, description="what is measured")
    topk: Annotated[list[Annotated[int, Field(ge=1, le=1_000_000)]], BeforeValidator(_as_list)] = Field(
        [10], min_length=1, description="at which cutoffs"
    )
    valid_metric: str = Field("MRR@10", description="the metric that early stopping follows")
    valid_metric_bigger: bool = Field(
        True, description="whether more of it is better: true but for GiniIndex and AveragePopularity; nothing else is accepted"
    )
    eval_batch_size: int = Field(
        4096, ge=1, le=10_000_000, description="maximum number of queries ranked at a time; fewer for a large catalog"
    )
    metric_decimal_place: int = Field(4, ge=0, le=17, description="decimals of printed metrics (files keep full precision)")
    tail_ratio: float = Field(
        0.1,
        gt=0,
        description="TailPercentage: this share of the least chosen items is the tail; above 1: items chosen at most so often",
    )

    @field_validator("metrics", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        if not isinstance(value, str | list | tuple):
            return value
        value = [value] if isinstance(value, str) else value
        return _metrics_named(list(value))

    @model_validator(mode="before")
    @classmethod
    def _direction_of_the_metric(cls, values: Any) -> Any:
        """Unless it was said, the direction is the metric's own."""
        if isinstance(values, dict) and values.get("valid_metric_bigger") is None:
            metric = str(values.get("valid_metric", "")).partition("@")[0].lower()
            return {**values, "valid_metric_bigger": metric not in SMALLER_IS_BETTER}
        return values

    @field_validator("valid_metric_bigger")
    @classmethod
    def _no_other_direction(cls, value: bool, info: ValidationInfo) -> bool:
        metric = str(info.data.get("valid_metric", "")).partition("@")[0]
        bigger = metric.lower() not in SMALLER_IS_BETTER
        if metric and value is not bigger:
            better = "more" if bigger else "less"
            raise ValueError(f"expected {str(bigger).lower()}, as {better} {metric} is better, found {str(value).lower()}; leave it out")
        return value

    @field_validator("valid_metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        name, cutoff = split_metric(value)
        return name if cutoff is None else f"{name}@{cutoff}"


class Settings(Environment, Data, Training, Evaluation):
    """All settings that are not a model's own."""

    model_settings: Any = Field(None, exclude=True, description="the model's own settings, a Section of the model's file")

    def as_dict(self) -> dict[str, Any]:
        """All settings, the model's own among them, as plain values that JSON and YAML can hold; the same settings can be made of them again."""
        own: Section = self.model_settings
        return self.model_dump(mode="json") | own.model_dump(mode="json")
