"""The evaluator against promtool: the same series, the same expressions, the same answers.

Evaluated between two scrapes, where Prometheus 2 and 3 agree on what a range contains.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from remediator.lab.prometheus import compress, compress_alertmanager, durations
from remediator.lab.prometheus.operators import Element, ExecutionError
from remediator.lab.prometheus.promql import evaluate
from remediator.lab.prometheus.rules import RecordingRule, read_groups, rule_files
from remediator.lab.prometheus.series import NAME, SeriesStore, labels_of
from tests.components import missing

pytestmark = pytest.mark.real

STEP_MS = 15_000
RULES = Path(__file__).parents[2] / "prometheus-rules"
EVALUATED = RULES / "hive.yml"  # what the stand-in reads: it scrapes the node alone, and for no whole day
POD = {"job": "hive", "namespace": "bizra-testnet", "deployment": "bizra-apex"}
BOUNDS = {"0.05": 80, "0.1": 95, "0.5": 99, "1": 100, "+Inf": 100}
COUNT = 80  # samples, 20 minutes


def _series():
    """(labels, values); None is a staleness marker, a missing tail is a target that vanished."""
    for pod, errors, score in (("a", 1, 98.0), ("b", 30, 62.5), ("c", 2, 97.25)):
        own = {**POD, "pod": pod, "instance": f"10.0.0.{ord(pod)}:9464"}
        yield {NAME: "up", **own}, [1.0] * COUNT
        yield {NAME: "hive_up", **own}, [1.0] * 40 + [0.0] * (COUNT - 40)
        yield {NAME: "ahsan_score", **own}, [score] * COUNT
        yield (
            {NAME: "hive_errors_total", **own},
            [float(errors * (i % 55)) for i in range(COUNT)],
        )  # a reset at 55
        yield {NAME: "hive_operation_duration_seconds_count", **own}, [100.0 * i for i in range(COUNT)]
        for bound, share in BOUNDS.items():
            bucket = {NAME: "hive_operation_duration_seconds_bucket", **own, "le": bound}
            yield bucket, [float(share * i) for i in range(COUNT)]
    gone = {**POD, "pod": "d", "instance": "10.0.0.9:9464"}
    yield {NAME: "up", **gone}, [1.0] * 60 + [0.0] * (COUNT - 60)
    yield {NAME: "hive_up", **gone}, [1.0] * 60 + [None]
    yield {NAME: "ahsan_score", **gone}, [40.0] * 60 + [None]
    yield {NAME: "idle_total", **POD}, [7.0] * COUNT
    yield {NAME: "young", **POD}, [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
    yield {NAME: "owner", **{k: v for k, v in POD.items() if k != "job"}, "team": "devops"}, [1.0] * COUNT


EXPRESSIONS = [
    "ahsan_score",
    "ahsan_score < 95",
    "ahsan_score < bool 95",
    "95 > ahsan_score",
    "95 > bool ahsan_score",
    'ahsan_score{pod=~"a|b"}',
    'ahsan_score{pod!~"a|b"}',
    'ahsan_score{pod!="a",nothing=""}',
    'ahsan_score{pod=~"."}',
    '{__name__=~"ahsan_sc.*",pod="a"}',
    '{__name__=~"ahsan_sc.*|young",pod!="b"} > 0',
    "-ahsan_score",
    "ahsan_score offset 5m",
    "ahsan_score offset 16m",
    "avg(ahsan_score)",
    "avg by (namespace, deployment) (ahsan_score)",
    "avg without (pod, instance) (ahsan_score)",
    "sum by (nothing) (ahsan_score)",
    "min(ahsan_score) + max(ahsan_score)",
    "count(ahsan_score) < count(up)",
    "count by (pod) (up == 0)",
    "group by (pod) (ahsan_score)",
    "absent(ahsan_score)",
    'absent(ahsan_score{job="other",pod=~"x"})',
    "absent(ahsan_score > 1000)",
    "absent_over_time(missing[5m])",
    'absent_over_time(missing{job="x"}[5m])',
    "vector(1)",
    "scalar(idle_total) + 1",
    "scalar(ahsan_score)",
    "time()",
    "time() - timestamp(ahsan_score)",
    "timestamp(ahsan_score + 1)",
    "rate(hive_errors_total[5m])",
    "rate(hive_errors_total[2m] offset 3m)",
    "increase(hive_errors_total[10m])",
    "increase(hive_errors_total[1h])",
    "rate(idle_total[5m])",
    "rate(missing_total[5m])",
    "rate(young[18m])",
    "rate(ahsan_score[5s])",
    "changes(hive_up[15m])",
    "changes(young[20m])",
    "avg_over_time(ahsan_score[5m])",
    "min_over_time(young[19m])",
    "max_over_time(young[20m])",
    "sum_over_time(young[20m])",
    "count_over_time(ahsan_score[5m])",
    "last_over_time(ahsan_score[10m])",
    "clamp_min(ahsan_score, 70)",
    "clamp_max(ahsan_score, 70)",
    "abs(ahsan_score - 100)",
    "histogram_quantile(0.99, sum by (le) (rate(hive_operation_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.5, rate(hive_operation_duration_seconds_bucket[5m]))",
    "histogram_quantile(1, rate(hive_operation_duration_seconds_bucket[5m]))",
    "histogram_quantile(0, rate(hive_operation_duration_seconds_bucket[5m]))",
    'histogram_quantile(0.995, rate(hive_operation_duration_seconds_bucket{le!="1"}[5m]))',
    'histogram_quantile(0.9, rate(hive_operation_duration_seconds_bucket{le!="+Inf"}[5m]))',
    "histogram_quantile(2, hive_operation_duration_seconds_bucket)",
    "histogram_quantile(-1, hive_operation_duration_seconds_bucket)",
    "sum by (pod) (rate(hive_errors_total[5m])) / sum without (job) (rate(hive_errors_total[9m]))",
    "sum by (pod) (rate(hive_errors_total[5m])) / sum by (pod) (rate(hive_errors_total[9m]))",
    "rate(hive_errors_total[5m]) / rate(hive_operation_duration_seconds_count[5m]) > 0.05",
    "rate(hive_errors_total[5m]) / (rate(idle_total[5m]) > 0)",
    "ahsan_score / 0",
    "ahsan_score * 0 / 0",
    "-ahsan_score / 0",
    "ahsan_score % 7",
    "-ahsan_score % 7",
    "2 ^ 3 ^ 2",
    "-2 ^ 2",
    "1 + 2 * 3 - 4 / 5 % 6",
    "(1 + 2) * 3",
    "1 == bool 1",
    "1e3 + 0x10",
    "NaN > bool 1",
    "Inf - Inf",
    "ahsan_score == ahsan_score",
    "ahsan_score != ahsan_score",
    "ahsan_score == on (pod) ahsan_score",
    "ahsan_score > ignoring (job) hive_up",
    "ahsan_score + on (pod) hive_up",
    "ahsan_score * on (namespace, deployment) group_left (team) owner",
    "ahsan_score > on (namespace, deployment) group_left (team) owner",
    "owner * on (namespace, deployment) group_right (team) ahsan_score",
    "owner < bool on (namespace, deployment) group_right () ahsan_score",
    "hive_up == 0 or up == 0",
    "hive_up and on (pod) (up == 1)",
    "up unless hive_up",
    "up unless on (pod) hive_up",
    "ahsan_score and ahsan_score > 90",
    "ahsan_score or on () vector(0)",
    "missing or vector(0)",
    "sum(missing) or vector(0)",
]
REFUSED = ["ahsan_score + on (deployment) hive_up", "ahsan_score * on (deployment) group_left () hive_up"]
TIMES = ["10m7s", "16m4s", "19m59s"]


def _real(program):
    found = shutil.which(program)
    if found is None:
        missing(f"{program} is not on PATH")
    return found


def _written(labels, values):
    own = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items() if name != NAME)
    points = " ".join("stale" if value is None else repr(value) for value in values)
    return {"series": f"{labels[NAME]}{{{own}}}", "values": points}


def _milliseconds(text):
    return durations.parse_ms(text)


def _store():
    store = SeriesStore()
    for labels, values in _series():
        for index, value in enumerate(values):
            if value is None:
                store.mark_stale([labels_of(labels)], index * STEP_MS)
            else:
                store.append(labels_of(labels), index * STEP_MS, value)
    return store


def _expected(value):
    """What promtool shall find: `exp_samples`, NaN written so that its YAML reads it."""
    elements = value if isinstance(value, list) else [Element((), value)]
    return [
        {"labels": _selector(one.labels), "value": ".nan" if math.isnan(one.value) else one.value}
        for one in elements
    ]


def _selector(labels):
    name = dict(labels).get(NAME, "")
    return name + "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in labels if key != NAME) + "}"


def _own_expressions():
    if not RULES.is_dir():
        return []
    groups = [
        group for file in rule_files([EVALUATED]) for group in read_groups(yaml.safe_load(file.read_text()))
    ]
    return [rule.expr for group in groups for rule in group.rules]


def _run(tmp_path, cases, *, series=None, rules=()):
    written = [_written(*one) for one in (series or _series())]
    tests = [{"interval": "15s", "input_series": written, "promql_expr_test": cases}]
    file = tmp_path / "cases.yml"
    text = yaml.safe_dump(
        {"rule_files": [str(file) for file in rules], "evaluation_interval": "15s", "tests": tests},
        sort_keys=False,
        width=4096,
    )
    file.write_text(re.sub(r"value: '?\.nan'?", "value: .nan", text))
    return subprocess.run(
        [_real("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )


_FAILURE = re.compile(r"expr: (?P<expr>.*), time: (?P<time>\S+?),\s+exp:(?P<exp>.*)\n\s+got:(?P<got>.*)")
_ELEMENT = re.compile(r"(?P<labels>[^\s{},]*\{[^}]*\}) (?P<value>\S+?)(?:,|$)", re.MULTILINE)


def _elements(text):
    return sorted((found["labels"], float(found["value"])) for found in _ELEMENT.finditer(text))


def _same(left, right):
    """Equal but for the last bits of a sum, and with NaN equal to itself, which promtool does not grant."""
    return [labels for labels, _ in left] == [labels for labels, _ in right] and all(
        math.isclose(one, other, rel_tol=1e-12) or (math.isnan(one) and math.isnan(other))
        for (_, one), (_, other) in zip(left, right, strict=True)
    )


def _disagreements(output):
    """What promtool reports as failed, less what differs in the last bits only."""
    blocks = re.split(r"\n(?=\s+expr: )", output)[1:]
    found = [(block, _FAILURE.search(block)) for block in blocks]
    return [
        block
        for block, failure in found
        if failure is None or not _same(_elements(failure["exp"]), _elements(failure["got"]))
    ]


def test_promtool_finds_the_same(tmp_path):
    store = _store()
    cases = [
        {
            "expr": expr,
            "eval_time": time,
            "exp_samples": _expected(evaluate(expr, store, _milliseconds(time))),
        }
        for expr in [*EXPRESSIONS, *_own_expressions()]
        for time in TIMES
    ]
    wrong = {"expr": "vector(1)", "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": 2}]}
    outcome = _run(tmp_path, [*cases, wrong])
    disagreements = _disagreements(outcome.stdout + outcome.stderr)
    assert [block.split(",")[0].strip() for block in disagreements] == ['expr: "vector(1)"'], "\n".join(
        disagreements
    )


@pytest.mark.parametrize("expr", REFUSED)
def test_both_refuse_ambiguous_matches(tmp_path, expr):
    with pytest.raises(ExecutionError):
        evaluate(expr, _store(), _milliseconds(TIMES[0]))
    outcome = _run(tmp_path, [{"expr": expr, "eval_time": TIMES[0], "exp_samples": []}])
    assert "err:" in outcome.stdout + outcome.stderr


def _incident():
    """Two pods: errors leak from minute 5 to 20, a score dips from 8 to 12, one pod is gone from 25 to 28."""
    for pod in ("a", "b"):
        own = {**POD, "pod": pod, "instance": f"10.0.0.{ord(pod)}:9464"}
        minutes = [i / 4 for i in range(160)]
        ratios = [0.12 if 5 <= minute < 20 else 0.001 for minute in minutes]
        gone = [pod == "b" and 25 <= minute < 28 for minute in minutes]
        errors, operations = [0.0], [0.0]
        for ratio in ratios[1:]:
            errors.append(errors[-1] + 15 * 700 * ratio)
            operations.append(operations[-1] + 15 * 700)
        yield {NAME: "up", **own}, [0.0 if absent else 1.0 for absent in gone]
        scores = [60.0 if 8 <= minute < 12 + 4 * (pod == "a") else 98.0 for minute in minutes]
        for name, values in (
            ("hive_up", [1.0] * 160),
            ("ahsan_score", scores),
            ("hive_errors_total", errors),
            ("hive_operation_duration_seconds_count", operations),
        ):
            known = [None if absent else value for absent, value in zip(gone, values, strict=True)]
            yield {NAME: name, **own}, known


# Not while a window slides over a change: there Prometheus 2 sees one sample more.
MOMENTS = [f"{minute}m3s" for minute in (2, 11, 13, 17, 19, 26, 29, 31, 35)]


def test_the_projects_rules_take_the_same_course(tmp_path):
    files = rule_files([EVALUATED])
    groups = [group for file in files for group in read_groups(yaml.safe_load(file.read_text()))]
    recorded = [rule.record for group in groups for rule in group.rules if isinstance(rule, RecordingRule)]
    series, store, cases = list(_incident()), SeriesStore(), []
    waiting = [(_milliseconds(moment), moment) for moment in MOMENTS]
    for index in range(160):
        now = index * STEP_MS
        while waiting and waiting[0][0] < now:
            at, moment = waiting.pop(0)
            cases += [
                {"expr": expr, "eval_time": moment, "exp_samples": _expected(evaluate(expr, store, at))}
                for expr in ("ALERTS", *recorded)
            ]
        for labels, values in series:
            if values[index] is None:
                store.mark_stale([labels_of(labels)], now)
            else:
                store.append(labels_of(labels), now, values[index])
        for group in groups:
            group.evaluate(store, now)
    firing = {labels for case in cases for labels in map(str, case["exp_samples"]) if "firing" in labels}
    assert len(firing) >= 3  # the score, the errors and the dead pod: else this compares nothing with nothing
    outcome = _run(tmp_path, cases, series=series, rules=files)
    assert _disagreements(outcome.stdout + outcome.stderr) == []


@pytest.mark.parametrize("speed", [60, 7])
def test_promtool_accepts_the_projects_compressed_rules(tmp_path, speed):
    for file in rule_files([RULES]):
        faster = tmp_path / file.name
        faster.write_text(compress(file.read_text(), speed))
        outcome = subprocess.run(
            [_real("promtool"), "check", "rules", str(faster)], capture_output=True, check=False
        )
        assert outcome.returncode == 0, outcome


@pytest.mark.parametrize("speed", [60, 7])
def test_amtool_accepts_the_projects_compressed_configuration(tmp_path, speed):
    faster = tmp_path / "alertmanager.yml"
    faster.write_text(
        compress_alertmanager((RULES.parent / "alertmanager/alertmanager.yml").read_text(), speed)
    )
    outcome = subprocess.run([_real("amtool"), "check-config", str(faster)], capture_output=True, check=False)
    assert outcome.returncode == 0, outcome
