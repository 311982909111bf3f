#!/usr/bin/env python3
"""Reads what monitors run. `queries.py exporter`, `queries.py dashboard` print psql scripts that run each query; `queries.py rules` checks the rules.

A query of the exporter must give exactly the columns that its metrics name. A rule may use only metrics that a query gives, and its runbook
must be a heading of docs/monitoring.md. The macros of Grafana are written out as it would.
"""
import json
import pathlib
import re
import sys

import yaml

root = pathlib.Path(__file__).resolve().parents[2]
exporter = yaml.safe_load((root / "monitoring/postgres_exporter.yaml").read_text())


def print_exporter():
    for name, entry in exporter.items():
        columns = [next(iter(metric)) for metric in entry["metrics"]]
        for metric in entry["metrics"]:
            (told,) = metric.values()
            assert told["usage"] in ("LABEL", "GAUGE", "COUNTER") and told["description"], f"{name}: {metric}"
        query = entry["query"].rstrip().rstrip(";")
        print(f"\\echo {name}")
        # Fails where a column is missing, has a NULL or is no number; and where the query gives one more than is named.
        values = [c for c, m in zip(columns, entry["metrics"]) if m[c]["usage"] != "LABEL"]
        casts = ", ".join(f"{v}::double precision AS {v}" for v in values)
        print(f"CREATE TEMP TABLE found AS {query};")
        print(f"SELECT {casts} FROM found;")
        print("DO $$ BEGIN ASSERT (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute WHERE attrelid = 'found'::regclass AND attnum > 0) = "
              f"'{{{','.join(sorted(columns))}}}', 'other columns than the metrics name'; "
              f"ASSERT (SELECT count(*) FROM found WHERE NOT ({' AND '.join(f'{c} IS NOT NULL' for c in columns)})) = 0, 'a NULL'; END $$;")
        print("DROP TABLE found;")


def print_dashboard():
    dashboard = json.loads((root / "docker/grafana/dashboards/millrace.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            sql = target["rawSql"]
            sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '15 minutes' AND now()", sql)
            sql = re.sub(r"\$__timeGroup\((\w+), '(\w+)'\)", r"date_bin('\2', \1, 'epoch')", sql)
            assert "$__" not in sql, sql
            if target["format"] == "time_series":
                assert " AS time" in sql, f"{panel['title']}: nothing to draw over"
            print(f"\\echo {panel['title']}\n{sql};")
            print(f"SELECT 'EMPTY: ' || '{panel['title']}' WHERE NOT EXISTS ({sql});")


def check_rules():
    metrics = {f"{name}_{column}" for name, entry in exporter.items() for m in entry["metrics"] for column in m}
    page = (root / "docs/monitoring.md").read_text()
    headings = {h.lower() for h in re.findall(r"^### (\w+)$", page, re.M)}
    wrong = []
    names = []
    for group in yaml.safe_load((root / "monitoring/alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            names.append(rule["alert"])
            for used in re.findall(r"\bmillrace_\w+", rule["expr"]):
                if used not in metrics:
                    wrong.append(f"{rule['alert']} uses {used}, which no query gives")
            path, _, heading = rule["annotations"]["runbook"].partition("#")
            if path != "docs/monitoring.md" or heading not in headings or heading != rule["alert"].lower():
                wrong.append(f"{rule['alert']} has no heading in docs/monitoring.md")
            if rule["labels"]["severity"] not in ("warning", "critical") or not rule["annotations"]["summary"]:
                wrong.append(f"{rule['alert']} has no severity or summary")
    wrong += [f"docs/monitoring.md tells of {h}, which is no rule" for h in headings - {n.lower() for n in names}]
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(bool(wrong))


{"exporter": print_exporter, "dashboard": print_dashboard, "rules": check_rules}[sys.argv[1]]()
