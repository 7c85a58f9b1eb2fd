"""The dashboards are what a viewer and Grafana expect: the rules of Grafana's dashboard-linter, and ours."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import combinations
from urllib.parse import parse_qs, urlsplit

import promql_parser as ast
import pytest
import yaml

from remediator.core.actions import ACTION_KINDS
from remediator.core.incidents import OVER, Phase
from tests.grafana.reading import (
    FILES,
    HOME,
    PLAIN,
    columns,
    filled,
    label_values,
    panels,
    queries,
    read,
    walk,
)

DASHBOARDS = {path.stem: read(path) for path in FILES}
AHSAN = DASHBOARDS["bizra-ahsan-dashboard"]
UNITS = {"short", "percent", "percentunit", "s", "ops", "reqps"}  # ids that Grafana knows and we use
PROVISIONING = HOME / "grafana/provisioning"


@pytest.fixture(params=list(DASHBOARDS))
def dashboard(request):
    return DASHBOARDS[request.param]


def the_panel(dashboard, title):
    (found,) = [panel for panel in panels(dashboard) if panel["title"] == title]
    return found


def provisioned(kind):
    (path,) = (PROVISIONING / kind).glob("*.yml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# --- The files ---


def test_the_files_are_what_the_generator_writes(tmp_path):
    subprocess.run([sys.executable, HOME / "grafana/make_dashboards.py", tmp_path], check=True, timeout=60)
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in FILES}
    assert made == kept, "run `python grafana/make_dashboards.py`"


def test_uids_and_titles_are_unique_and_stable():
    assert {name: one["uid"] for name, one in DASHBOARDS.items()} == {
        "bizra-ahsan-dashboard": "bizra-ahsan-dashboard",
        "remediator": "remediator",
    }
    assert len({one["title"] for one in DASHBOARDS.values()}) == len(DASHBOARDS)


def test_the_dashboard_is_classic_json_that_nobody_edits_in_the_browser(dashboard):
    assert dashboard["schemaVersion"] == 42
    assert dashboard["editable"] is False
    assert "id" not in dashboard
    assert "__inputs" not in dashboard
    assert dashboard["description"]


# --- Variables ---


def test_the_data_source_is_a_variable_that_finds_ours(dashboard):
    variable = dashboard["templating"]["list"][0]
    assert (variable["name"], variable["label"]) == ("datasource", "Data source")
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert variable["current"]["value"] == "prometheus"


def test_every_query_asks_the_chosen_data_source(dashboard):
    asking = [*panels(dashboard), *dashboard["annotations"]["list"]]
    asking += [target for panel in panels(dashboard) for target in panel["targets"]]
    asking += [one for one, _ in label_values(dashboard)]
    assert {(one["datasource"]["type"], one["datasource"]["uid"]) for one in asking} == {
        ("prometheus", "${datasource}")
    }


def test_variables_are_labelled_and_asked_again_with_the_time_range(dashboard):
    for variable, _ in label_values(dashboard):
        assert variable["label"]
        assert variable["refresh"] == 2, variable["name"]


def test_the_ahsan_dashboard_chooses_a_namespace_and_then_a_deployment():
    assert [one["name"] for one in AHSAN["templating"]["list"]] == ["datasource", "namespace", "deployment"]
    assert not any(one["multi"] or one["includeAll"] for one, _ in label_values(AHSAN))


def test_every_query_of_the_ahsan_dashboard_is_of_the_chosen_target():
    wanted = {("namespace", "bizra-testnet"), ("deployment", "bizra-apex")}
    for query in queries(AHSAN):
        if query.where.startswith("variable"):
            continue
        for node, _ in walk(query.filled()):
            if isinstance(node, ast.VectorSelector):
                equal = {(m.name, m.value) for m in node.matchers.matchers if m.op == ast.MatchOp.Equal}
                assert wanted <= equal or ("target", PLAIN["target"]) in equal, query


# --- Panels ---


def test_every_panel_says_what_it_shows(dashboard):
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(titles)) == len(titles)
    for panel in panels(dashboard):
        assert panel["title"]
        assert len(panel["description"]) > 20, panel["title"]


def test_every_panel_has_a_unit_thresholds_and_words_for_nothing(dashboard):
    for panel in panels(dashboard):
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS, panel["title"]
        assert defaults["noValue"], panel["title"]
        steps = defaults["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        assert values[0] is None, panel["title"]
        assert values[1:] == sorted(values[1:]), panel["title"]


def test_every_panel_asks_something_under_distinct_names(dashboard):
    for panel in panels(dashboard):
        names = [target["refId"] for target in panel["targets"]]
        assert names, panel["title"]
        assert len(set(names)) == len(names), panel["title"]


def test_lines_have_names_of_our_choice(dashboard):
    for panel in panels(dashboard):
        if panel["type"] in ("timeseries", "state-timeline"):
            legends = [target["legendFormat"] for target in panel["targets"]]
            assert "__auto" not in legends, panel["title"]
            assert len(set(legends)) == len(legends), panel["title"]


def test_what_is_one_number_is_a_point_in_time_or_its_last_value(dashboard):
    for panel in panels(dashboard):
        for target in panel["targets"]:
            assert target["instant"] is not target["range"], panel["title"]
            if "$__range]" in target["expr"] or "[30d]" in target["expr"]:
                assert target["instant"], f"{panel['title']}: the same long range at each point of a line"


def test_ids_are_unique(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_lie_within_the_grid_and_beside_each_other(dashboard):
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard["panels"]]
    for title, at in places:
        assert at["x"] >= 0, title
        assert at["x"] + at["w"] <= 24, title
    for (one, a), (other, b) in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one} and {other} overlap"


def test_no_line_of_panels_ends_before_the_edge(dashboard):
    """Every square of every line is covered: a hole looks like a panel that failed to load."""
    covered = {
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    }
    depth = max(y for _, y in covered) + 1
    assert len(covered) == 24 * depth, sorted(
        {y for y in range(depth) for x in range(24) if (x, y) not in covered}
    )


# --- Queries ---


def test_every_query_is_promql_with_known_variables(dashboard):
    for query in queries(dashboard):
        ast.parse(query.filled())


def test_rates_follow_the_zoom_and_counters_are_only_looked_at_through_them(dashboard):
    for query in queries(dashboard):
        text = filled(query.expr, {**PLAIN, "__rate_interval": "11111s", "__range": "22222s"})
        for node, above in walk(text):
            calls = [one.func.name for one in above if isinstance(one, ast.Call)]
            if isinstance(node, ast.MatrixSelector) and {"rate", "irate"} & set(calls):
                assert node.range.total_seconds() == 11111, f"{query.where}: rate() takes $__rate_interval"
            if isinstance(node, ast.VectorSelector) and str(node.name).endswith("_total"):
                assert {"rate", "irate", "increase"} & set(calls), (
                    f"{query.where}: {node.name} only ever grows"
                )


def test_missing_data_is_never_painted_over(dashboard):
    for query in queries(dashboard):
        assert not re.search(r"\bvector\s*\(|\babsent", query.expr), query.where


def test_replicas_of_the_remediator_are_never_added_up(dashboard):
    """Each shows the same journal. Only what a process counts for itself may be summed."""
    for query in queries(dashboard):
        for node, above in walk(query.filled()):
            name = getattr(node, "name", None)
            if not isinstance(node, ast.VectorSelector) or not str(name).startswith("remediator_"):
                continue
            if name == "remediator_http_requests_total" or query.where.startswith("variable"):
                continue
            nearest = [str(one.op) for one in above if isinstance(one, ast.AggregateExpr)][-1]
            assert nearest in ("max", "min"), f"{query.where}: {nearest} over {name}"


# --- What the runbook's reader looks for ---


def test_the_ahsan_dashboard_has_the_panels_that_the_runbook_names():
    titles = {panel["title"] for panel in panels(AHSAN)}
    assert {
        "Ahsan Compliance Score",
        "System Health",
        "Active Swarms",
        "Ahsan Violations",
        "Throughput",
        "Error Ratio",
        "Latency",
        "Availability Budget Left",
        "Error Budget Left",
        "Firing Alerts",
    } <= titles


def test_system_health_has_three_words_and_no_data_is_not_health():
    panel = the_panel(AHSAN, "System Health")
    values, special = panel["fieldConfig"]["defaults"]["mappings"]
    assert {value: (word["text"], word["color"]) for value, word in values["options"].items()} == {
        "1": ("OPERATIONAL", "green"),
        "0": ("DOWN", "red"),
    }
    assert (special["type"], special["options"]["match"]) == ("special", "null+nan")
    assert special["options"]["result"]["text"] == "NO DATA"
    assert panel["fieldConfig"]["defaults"]["noValue"] == "NO DATA"
    (target,) = panel["targets"]
    assert target["instant"], "a range would show the last value there was, however old"
    assert target["expr"].startswith("min(")


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("Ahsan Score", [90, 95]),
        ("Throughput", [1500]),
        ("Error Ratio", [0.01, 0.05]),
        ("Latency", [0.05, 0.5]),
    ],
)
def test_charts_draw_the_baselines_and_the_bounds_of_the_rules(title, lines):
    defaults = the_panel(AHSAN, title)["fieldConfig"]["defaults"]
    assert defaults["custom"]["thresholdsStyle"]["mode"] == "dashed"
    assert [step["value"] for step in defaults["thresholds"]["steps"][1:]] == lines


def test_the_bounds_of_the_dashboard_are_those_of_the_rules():
    bounds = {
        rule["alert"]: float(found[1])
        for group in yaml.safe_load((HOME / "prometheus-rules/hive.yml").read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule and (found := re.search(r"[<>]=?\s*([\d.]+)\s*$", rule["expr"]))
    }
    for alert, title in (
        ("AhsanScoreLow", "Ahsan Score"),
        ("HiveErrorRateHigh", "Error Ratio"),
        ("HiveLatencyP99High", "Latency"),
    ):
        steps = the_panel(AHSAN, title)["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert bounds[alert] in [step["value"] for step in steps], alert


def test_burn_rates_are_drawn_as_the_burn_alerts_read_them():
    """Per record the bound of the alert whose long window it is, and what the budget allows."""
    rules = (HOME / "prometheus-rules/sla.yml").read_text()
    bounds = re.findall(r"(\w+:\w+:ratio(?:_rate)?(?:1h|6h|1d|3d)) > ([\d.]+) \* ([\d.]+)", rules)
    read: dict[str, tuple[float, float]] = {}
    drawn: dict[str, tuple[float, float]] = {}
    for record, times, budget in bounds:  # 6h is the long window of one alert and the short one of another
        read[record] = max(read.get(record, (0.0, 0.0)), (float(times), float(budget)))
    for title in ("Availability Burn Rate", "Error Burn Rate"):
        panel = the_panel(AHSAN, title)
        assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"
        lines = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]]
        for target, line in zip(panel["targets"], reversed(lines), strict=True):
            found = re.fullmatch(r"([\w:]+)\{.+\} / ([\d.]+)", target["expr"])
            assert found
            assert target["legendFormat"] == f"over {found[1][-2:]}"
            drawn[found[1]] = (line, float(found[2]))
    assert drawn == {record: read[record] for record in drawn}
    assert len(drawn) == 8


def test_availability_is_counted_as_the_burn_alerts_count_it():
    (counted,) = set(
        re.findall(r"1 - avg_over_time\(([\w:]+)\[", (HOME / "prometheus-rules/sla.yml").read_text())
    )
    for title in ("Availability, 30 days", "Availability Budget Left"):
        assert counted in the_panel(AHSAN, title)["targets"][0]["expr"]


def test_numbers_are_of_now_unless_they_are_a_trend(dashboard):
    for panel in panels(dashboard):
        if panel["type"] == "stat":
            trend = panel["options"]["graphMode"] == "area"
            assert [target["range"] for target in panel["targets"]] == [trend], panel["title"]


def test_all_phases_have_a_word_and_a_colour():
    phases = [phase.value for phase in Phase if phase not in OVER]
    for name, title in (
        ("bizra-ahsan-dashboard", "Remediator"),
        ("remediator", "Targets with an Open Incident"),
    ):
        panel = the_panel(DASHBOARDS[name], title)
        words = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        numbers = re.findall(r'(\d) \* max[^+]*phase="(\w+)"', panel["targets"][0]["expr"])
        assert dict(numbers) == {str(number): phase for number, phase in enumerate(phases, 1)}
        assert {number: word["text"] for number, word in words.items()} == {
            "0": "no open incident",
            **dict(numbers),
        }
    panel = the_panel(DASHBOARDS["remediator"], "Open Incidents by Phase")
    coloured = [one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]]
    assert coloured == phases


def test_an_automatic_action_is_marked_at_the_moment_it_happened(dashboard):
    (marks,) = [one for one in dashboard["annotations"]["list"] if one["name"] == "Automatic actions"]
    assert marks["useValueForTime"] is True
    assert "_timestamp_seconds" in marks["expr"]
    assert marks["expr"].endswith("* 1000 > 0"), "milliseconds; 0 is never"
    assert ACTION_KINDS, "the kinds that {{action}} shows"


def test_tables_rename_and_order_the_columns_they_keep(dashboard):
    for panel in panels(dashboard):
        if panel["type"] == "table":
            (order,) = [one["options"] for one in panel["transformations"] if one["id"] == "organize"]
            assert set(order["renameByName"]) == set(order["indexByName"]) == columns(panel)


# --- Links ---


def every_url(dashboard):
    yield from (one["url"] for one in dashboard["links"] if one["type"] == "link")
    yield from (one["url"] for panel in panels(dashboard) for one in panel["links"])


def anchors(markdown):
    titles = re.findall(r"^#+ (.+)$", markdown, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_to_the_runbook_and_alertmanager(dashboard):
    urls = list(every_url(dashboard))
    assert any(url.startswith("http://localhost:9093") for url in urls)
    runbook = [url for url in urls if "/docs/runbook.md" in url]
    assert runbook
    known = anchors((HOME / "docs/runbook.md").read_text(encoding="utf-8"))
    for url in runbook:
        assert urlsplit(url).fragment in {"", *known}, url


def test_the_dashboards_lead_to_each_other():
    for name, other in (("bizra-ahsan-dashboard", "remediator"), ("remediator", "bizra-ahsan-dashboard")):
        (tags,) = [one["tags"] for one in DASHBOARDS[name]["links"] if one["type"] == "dashboards"]
        assert set(tags) <= set(DASHBOARDS[other]["tags"])
        assert not set(tags) <= set(DASHBOARDS[name]["tags"])


def test_the_rules_lead_to_dashboards_and_variables_that_exist():
    documents = [yaml.safe_load(path.read_text()) for path in (HOME / "prometheus-rules").glob("*.yml")]
    urls = {
        rule["annotations"]["dashboard_url"]
        for document in documents
        for group in document.get("groups", ())
        for rule in group["rules"]
        if "dashboard_url" in rule.get("annotations", {})
    }
    assert urls
    for url in urls:
        parts = urlsplit(url)
        linked = DASHBOARDS[parts.path.removeprefix("/d/")]
        names = {f"var-{one['name']}" for one in linked["templating"]["list"]}
        assert set(parse_qs(parts.query)) <= names, url


# --- Provisioning ---


def test_the_data_sources_have_the_ids_that_the_dashboards_look_for():
    prometheus, alertmanager = provisioned("datasources")["datasources"]
    assert (prometheus["uid"], prometheus["type"], prometheus["isDefault"]) == (
        "prometheus",
        "prometheus",
        True,
    )
    assert prometheus["jsonData"]["httpMethod"] == "POST"
    assert (alertmanager["uid"], alertmanager["type"]) == (
        prometheus["jsonData"]["alertmanagerUid"],
        "alertmanager",
    )
    assert alertmanager["jsonData"]["implementation"] == "prometheus"
    assert not any(one["editable"] for one in (prometheus, alertmanager))


def test_the_data_source_knows_the_scrape_interval():
    scraped = yaml.safe_load((HOME / "prometheus-rules/prometheus.yml").read_text(encoding="utf-8"))
    intervals = {one.get("scrape_interval") for one in scraped["scrape_configs"]} - {None}
    known = provisioned("datasources")["datasources"][0]["jsonData"]["timeInterval"]
    assert {known} == {scraped["global"]["scrape_interval"], *intervals}


def test_the_provider_lets_the_files_win():
    (provider,) = provisioned("dashboards")["providers"]
    assert provider["type"] == "file"
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, True)
