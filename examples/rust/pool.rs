//! A pool of workers that bill transactions: each takes a chunk of its own, works it in one transaction with its ack, and stops when asked to.
//!
//! pool CONNINFO STREAM CONSUMER WORKERS
//!
//! The consumer was created with mode => 'pool'. What it shows: a connection for each worker and a name that no other has; the claim is
//! committed before the work, so that a failed attempt is counted; a heartbeat extends the lease from a connection of its own; whoever has
//! lost the lease (MR001, MR002) rolls back and goes on; Ctrl-C lets the chunks at hand finish. Works behind PgBouncer in transaction mode.

use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::{Client, Error, NoTls};

const HEARTBEAT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Job {
    pub conninfo: String,
    pub stream: String,
    pub consumer: String,
}

async fn connect(conninfo: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(conninfo, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("connection: {error}");
        }
    });
    Ok(client)
}

/// Runs so many workers until `stop` says true; gives the number of chunks that they have worked.
pub async fn run(job: Job, workers: usize, stop: watch::Receiver<bool>) -> Result<u64, Error> {
    let tasks: Vec<_> = (0..workers)
        .map(|number| {
            let name = format!("pool-{}-{number}", std::process::id());
            tokio::spawn(work(job.clone(), name, stop.clone()))
        })
        .collect();
    let mut worked = 0;
    for task in tasks {
        worked += task.await.expect("a worker panicked")?;
    }
    Ok(worked)
}

async fn work(job: Job, name: String, stop: watch::Receiver<bool>) -> Result<u64, Error> {
    let mut client = connect(&job.conninfo).await?;
    let mut worked = 0;
    while !*stop.borrow() {
        let next = "SELECT chunk_no, token::text FROM millrace.next_chunk($1, $2, worker => $3)";
        let Some(claim) = client.query_opt(next, &[&job.stream, &job.consumer, &name]).await? else {
            // Holds no snapshot while it waits; short turns, so that a stop is answered.
            let (stream, consumer) = (job.stream.replace('\'', "''"), job.consumer.replace('\'', "''"));
            client
                .batch_execute(&format!("CALL millrace.wait_for_chunk('{stream}', '{consumer}', '1 second')"))
                .await?;
            continue;
        };
        let (chunk_no, token): (i64, String) = (claim.get(0), claim.get(1));
        let heartbeat = tokio::spawn(keep(job.clone(), chunk_no, token.clone()));
        let done = bill(&mut client, &job, chunk_no, &token).await;
        heartbeat.abort();
        match done {
            Ok(()) => worked += 1,
            Err(error) if error.code().is_some_and(|code| matches!(code.code(), "MR001" | "MR002")) => {
                eprintln!("{name}: chunk {chunk_no} went to another worker");
            }
            // The work is rolled back; the failure is counted in a transaction of its own.
            Err(error) => {
                let nack = "SELECT millrace.nack($1, $2, $3, $4::text::uuid, reason => $5)";
                client.execute(nack, &[&job.stream, &job.consumer, &chunk_no, &token, &error.to_string()]).await?;
            }
        }
    }
    Ok(worked)
}

/// The work itself, with its ack.
async fn bill(client: &mut Client, job: &Job, chunk_no: i64, token: &str) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    let bill = "INSERT INTO billed (chunk_no, customer, amount)
                SELECT $1::bigint, customer, sum(amount) FROM millrace.chunk_rows(NULL::staging.transactions, $1::bigint) GROUP BY customer";
    transaction.execute(bill, &[&chunk_no]).await?;
    let ack = "SELECT millrace.ack($1, $2, $3, $4::text::uuid)";
    transaction.execute(ack, &[&job.stream, &job.consumer, &chunk_no, &token]).await?;
    transaction.commit().await
}

/// Extends the lease until the work is done; whoever has lost it hears of that from the ack.
async fn keep(job: Job, chunk_no: i64, token: String) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let extended = async {
            let extend = "SELECT millrace.extend($1, $2, $3, $4::text::uuid)";
            connect(&job.conninfo).await?.execute(extend, &[&job.stream, &job.consumer, &chunk_no, &token]).await
        };
        if let Err(error) = extended.await {
            eprintln!("heartbeat: {error}");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [conninfo, stream, consumer, workers] = arguments.as_slice() else {
        return Err("usage: pool CONNINFO STREAM CONSUMER WORKERS".into());
    };
    let job = Job { conninfo: conninfo.clone(), stream: stream.clone(), consumer: consumer.clone() };
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
    });
    println!("worked {} chunks", run(job, workers.parse()?, stopped).await?);
    Ok(())
}
