"""What pg_millrace takes the place of: Spark Structured Streaming from a directory of CSV files into Postgres over JDBC.

usage: spark.py LANDING CHECKPOINT TRIGGER FILES_A_BATCH [aggregate]     TRIGGER: once (all that is there), or an interval such as '1 second'

Rows without NULL and with an amount above zero are appended to public.tx; `aggregate` keeps public.stats by upsert as well. JDBC_URL, JDBC_JAR and
PGURL in the environment say how to get there. Prints a line "ready" when the streams have begun, and "done SECONDS" when they end, by themselves
or at the end of standard input.
"""

import os
import sys
import threading
import time

import psycopg
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

landing, checkpoint, trigger, files = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
aggregate = "aggregate" in sys.argv[5:]
SCHEMA = (
    "transaction_id string, event_time timestamp, step int, customer string, age string, gender string, zipcode string, merchant string, "
    "category string, amount decimal(12,2), fraud int"
)
jar = os.environ["JDBC_JAR"]
# Tuned as a careful user would: as many partitions as cores, and rewritten inserts.
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", jar)
    .config("spark.driver.extraClassPath", jar)
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
URL = os.environ["JDBC_URL"] + "&reWriteBatchedInserts=true"
postgres = psycopg.connect(os.environ["PGURL"]) if aggregate else None


def source():
    rows = spark.readStream.schema(SCHEMA).option("header", True).option("maxFilesPerTrigger", files).csv(landing)
    return rows.dropna().filter(f.col("amount") > 0)


def append(rows, _):
    rows.write.jdbc(URL, "public.tx", mode="append", properties={"driver": "org.postgresql.Driver", "batchsize": "10000"})


def upsert(groups, _):
    with postgres.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO public.stats VALUES (%s, %s, %s) ON CONFLICT (merchant) DO UPDATE SET n = excluded.n, mean = excluded.mean",
            [tuple(row) for row in groups.collect()],
        )
    postgres.commit()


def stream(rows, sink, name, mode):
    writer = rows.writeStream.foreachBatch(sink).outputMode(mode).option("checkpointLocation", f"{checkpoint}/{name}")
    return (writer.trigger(availableNow=True) if trigger == "once" else writer.trigger(processingTime=trigger)).start()


begun = time.monotonic()
streams = [stream(source(), append, "rows", "append")]
if aggregate:
    groups = source().groupBy("merchant").agg(f.count("*"), f.avg("amount"))
    streams.append(stream(groups, upsert, "stats", "update"))
print("ready", flush=True)
over = threading.Event()
if trigger != "once":
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
while any(s.isActive for s in streams) and not over.is_set():
    time.sleep(0.02)
took = time.monotonic() - begun
for s in streams:
    s.stop()
    if s.exception():
        raise s.exception()
print(f"done {took}", flush=True)
