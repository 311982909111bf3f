"""pg_millrace beside what people use today, on the same server, files and rows, in turns: prints a table, and writes it as JSON.

usage: peers.py DIRECTORY RESULT        DIRECTORY: the server and this program may write there

PGURL, JDBC_URL and JDBC_JAR in the environment say how to get there. PEERS_FILES (300) files of 10,000 rows, PEERS_RUNS (3), PEERS_SECONDS (30)
files of the latency's part, one a second. Times are of the machine; the ratios hold when it is otherwise idle.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import psycopg
from deltalake import DeltaTable

HERE = Path(__file__).parent
PLACE, RESULT = Path(sys.argv[1]), Path(sys.argv[2])
FILES, RUNS, SECONDS = (int(os.environ.get(name, default)) for name, default in (("PEERS_FILES", 300), ("PEERS_RUNS", 3), ("PEERS_SECONDS", 30)))
ROWS = 10_000
PGURL = os.environ["PGURL"]
COLUMNS = (
    "transaction_id text, event_time timestamptz, step int, customer text, age text, gender text, zipcode text, merchant text, category text, "
    "amount numeric(12,2), fraud int"
)
db = psycopg.connect(PGURL, autocommit=True)
results = []


def fresh(name):
    """An empty directory that the server writes into."""
    place = PLACE / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    return place


def drop_pipeline():
    db.execute("DO $$ BEGIN PERFORM millrace.drop_pipeline('p', drop_tables => true); EXCEPTION WHEN undefined_object THEN END $$")


def table():
    db.execute("DROP TABLE IF EXISTS public.tx, public.stats")
    db.execute(f"CREATE TABLE public.tx ({COLUMNS})")
    db.execute("CREATE TABLE public.stats (merchant text PRIMARY KEY, n bigint, mean numeric)")


def timed(work):
    db.execute("CHECKPOINT")
    begun = time.monotonic()
    said = work()
    return said if isinstance(said, float) else time.monotonic() - begun


def loaded(expected=FILES * ROWS, where="public.tx"):
    found = db.execute(f"SELECT count(*) FROM {where}").fetchone()[0]
    # Rows without an amount above zero are left out by all.
    assert 0 < found <= expected, f"{found} rows of {expected} in {where}"


def copy():
    table()

    def work():
        for path in sorted((PLACE / "csv").iterdir()):
            db.execute(f"COPY public.tx FROM '{path}' (FORMAT csv, HEADER)")

    seconds = timed(work)
    loaded()
    return seconds


def seed():
    """All of it: raw layer, two expectations, aggregate with distinct values, processed layer."""
    drop_pipeline()
    lake = fresh("lake")
    db.execute(
        f"""SELECT millrace.create_pipeline('p', source => 'file://{PLACE}/csv', columns => '{COLUMNS}', raw => 'file://{lake}/raw',
                staging => 'staging.p', every => NULL, options => '{{"max_files_per_chunk": 1, "settle": 0}}');
            SELECT millrace.add_expectation('p', 'amount', 'amount > 0'), millrace.add_expectation('p', 'merchant', 'merchant <> ''''');
            SELECT millrace.create_aggregate('p', 'seed_stats', 'SELECT merchant, avg(amount) AS mean, count(*) AS n,
                count(DISTINCT customer) FILTER (WHERE gender = ''F'') AS women FROM staging.p GROUP BY merchant', publish => 'file://{lake}/stats')"""
    )
    seconds = timed(lambda: db.execute("CALL millrace.run('p')") and None)
    loaded(where="staging.p")
    return seconds


def follow():
    drop_pipeline()
    db.execute(f"SELECT millrace.create_pipeline('p', source => 'file://{PLACE}/delta', format => 'delta', staging => 'staging.p', every => NULL)")
    seconds = timed(lambda: db.execute("CALL millrace.run('p')") and None)
    loaded(where="staging.p")
    return seconds


def ingest():
    """The whole Delta table by the Python package and ADBC, batch by batch, in one transaction."""
    db.execute("DROP TABLE IF EXISTS public.tx")

    def work():
        with adbc.connect(PGURL) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("tx", DeltaTable(str(PLACE / "delta")).to_pyarrow_dataset().scanner().to_reader(), mode="create")
            connection.commit()

    seconds = timed(work)
    loaded()
    return seconds


def start_spark(*arguments):
    log = open(PLACE / "spark.log", "w")
    return subprocess.Popen(
        [sys.executable, str(HERE / "spark.py"), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    )


def spark(files_a_batch):
    table()
    process = start_spark(PLACE / "csv", fresh("checkpoint"), "once", files_a_batch)
    out, _ = process.communicate()
    assert process.returncode == 0, f"Spark failed: {PLACE}/spark.log"
    loaded()
    # What it took to start is not counted.
    return float(out.split("done ")[1])


def in_turns(what, ours, peer, against, want):
    times = [[], []]
    for _ in range(RUNS):
        times[0].append(ours())
        times[1].append(peer())
    ours, peer = (FILES * ROWS / statistics.median(t) for t in times)
    line(what, f"{ours:,.0f} rows/s", f"{against}: {peer:,.0f} rows/s", ours / peer, want, False)


def line(what, ours, peer, ratio, want, at_most):
    results.append({"what": what, "ours": ours, "baseline": peer, "ratio": round(ratio, 3), "want": want, "at_most": at_most})
    print(f"{what:56} | {ours:>20} | {peer:44} | {ratio:8.3f} | {'<=' if at_most else '>='} {want}", flush=True)


def cpu(pids):
    """Seconds of a core that processes and their children have used."""
    total = 0
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    for pid, (parent, ticks) in parents.items():
        while parent and pid not in pids:
            pid, parent = parent, parents.get(parent, (0, 0))[0]
        total += ticks if pid in pids else 0
    return total / os.sysconf("SC_CLK_TCK")


def latency(landing, sql, pids):
    """Seconds from each rename to the row count being in the aggregate, and the loader's seconds of a core a second."""
    paths = sorted((PLACE / "side").iterdir())[: SECONDS + 5]
    base = len(paths) - SECONDS
    expected, times, used = 0, [], 0.0
    for i, path in enumerate(paths):
        expected += sum(1 for row in open(path)) - 1
        begun = time.monotonic()
        if i == base:
            used, clock = cpu(pids()), begun
        target = landing / path.name
        shutil.copyfile(path, landing / f".{path.name}")
        begun = time.monotonic()
        os.rename(landing / f".{path.name}", target)
        while db.execute(sql).fetchone()[0] < expected:
            assert time.monotonic() - begun < 120, f"{expected} rows do not come"
            time.sleep(0.002)
        took = time.monotonic() - begun
        if i >= base:
            times.append(took)
        time.sleep(max(0, 1 - took))
    return times, (cpu(pids()) - used) / (time.monotonic() - clock)


def ours_each_second():
    drop_pipeline()
    landing = fresh("landing")
    db.execute(
        f"""SELECT millrace.create_pipeline('p', source => 'file://{landing}/*.csv', columns => '{COLUMNS}', staging => 'staging.p', every => '100 ms',
                options => '{{"settle": 0}}');
            SELECT millrace.create_aggregate('p', 'seed_stats', 'SELECT merchant, count(*) AS n, avg(amount) AS mean FROM staging.p GROUP BY merchant')"""
    )

    def pids():
        return {row[0] for row in db.execute("SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_millrace%'").fetchall()}

    seen = latency(landing, "SELECT coalesce(sum(n), 0) FROM staging.seed_stats", pids)
    drop_pipeline()
    return seen


def spark_each_second():
    table()
    landing = fresh("landing")
    process = start_spark(landing, fresh("checkpoint"), "1 second", 10, "aggregate")
    assert process.stdout.readline().strip() == "ready", f"Spark failed: {PLACE}/spark.log"
    try:
        return latency(landing, "SELECT coalesce(sum(n), 0) FROM public.stats", lambda: {process.pid})
    finally:
        process.communicate("")


db.execute(f"SELECT millrace.simulate('transactions', 'file://{fresh('csv')}', rows_per_file => {ROWS}, files => {FILES}, seed => 1)")
db.execute(f"SELECT millrace.simulate('transactions', 'file://{fresh('side')}', rows_per_file => {ROWS}, files => {SECONDS + 5}, seed => 2)")
# The Delta table, a commit a file, is a raw layer of ours.
drop_pipeline()
fresh("delta")
db.execute(
    f"""SELECT millrace.create_pipeline('p', source => 'file://{PLACE}/csv', columns => '{COLUMNS}', raw => 'file://{PLACE}/delta', staging => 'staging.p',
        every => NULL, options => '{{"max_files_per_chunk": 1, "settle": 0}}')"""
)
db.execute("CALL millrace.run('p')")

in_turns("seed pipeline, CSV files", seed, copy, "COPY, a commit a file", 1.0)
in_turns("the same", seed, lambda: spark(1), "Spark, append alone, a file a batch", 10)
in_turns("the same", seed, lambda: spark(FILES), "Spark, append alone, all in a batch", 4)
in_turns("Delta table, a commit a file, to staging", follow, ingest, "deltalake + ADBC ingest", 1.0)
(ours, ours_cpu), (theirs, theirs_cpu) = ours_each_second(), spark_each_second()
for name, at in (("median", statistics.median), ("slowest", max)):
    mine, other = at(ours), at(theirs)
    line(f"a file a second: rename to aggregate, {name}", f"{mine * 1000:.0f} ms", f"Spark, every second: {other * 1000:.0f} ms", mine / other, 0.1, True)
line("a file a second: the loader's CPU", f"{ours_cpu:.3f} cores", f"Spark: {theirs_cpu:.3f} cores", ours_cpu / theirs_cpu, 0.1, True)
RESULT.write_text(json.dumps(results, indent=2) + "\n")
