//! One page of live charts over the views of pg_millrace, on loopback.
//!
//! millrace_dashboard [PORT], with MILLRACE_CONNINFO in the environment, where other users do not see its password
//!
//! Promises: reads and changes nothing, as a role that sees no data (grants.sql makes it); serves this machine alone; the page holds
//! everything it needs and asks no other host. However many look at it, the database is asked once a second.

mod figures;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use figures::{Figures, Span};

const PORT: u16 = 8642;

/// The page, with its style, its script and the charting library in it.
fn page() -> String {
    [
        ("/*library-style*/", include_str!("vendor/uplot/uPlot.min.css")),
        ("/*style*/", include_str!("page/style.css")),
        ("/*library*/", include_str!("vendor/uplot/uPlot.iife.min.js")),
        ("/*script*/", include_str!("page/script.js")),
    ]
    .iter()
    .fold(include_str!("page/page.html").to_owned(), |page, (place, text)| page.replacen(place, text, 1))
}

async fn show_figures(State(figures): State<Arc<Figures>>, Query(span): Query<Span>) -> Response {
    match figures.now(span).await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error).into_response(),
    }
}

/// Answers only those who came by this machine's own name, so that no page of another host can read through a name that it made point here.
async fn only_here(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost") {
        return (StatusCode::FORBIDDEN, "only for this machine").into_response();
    }
    let mut response = next.run(request).await;
    let policy =
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:";
    for (name, value) in [
        ("content-security-policy", policy),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), value.parse().expect("a header's value"));
    }
    response
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage =
        "usage: MILLRACE_CONNINFO='host=… dbname=… user=millrace_dashboard password=…' millrace_dashboard [PORT]";
    let conninfo = std::env::var("MILLRACE_CONNINFO").map_err(|_| usage)?;
    let port = std::env::args().nth(1).map_or(Ok(PORT), |text| text.parse()).map_err(|_| usage)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| format!("port {port}: {error}; name another one as the last argument"))?;
    let figures = Arc::new(Figures::connect(conninfo).await?);
    let page = page();
    let routes = Router::new()
        .route("/", get(|| async { Html(page) }))
        .route("/figures", get(show_figures))
        .with_state(figures)
        .layer(from_fn(only_here));
    println!("http://{}/", listener.local_addr()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    // Whoever still looks is not waited for.
    tokio::select! {
        served = async { axum::serve(listener, routes).await } => served?,
        () = stop => {}
    }
    Ok(())
}
