//! Whether an HTTP endpoint answers, with what status and how fast.

use millrace::{Metrics, PollCall, Request, Result, export};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

export!(poll: measure);

fn measure(run: PollCall) -> Result<Metrics> {
    let http = Metrics::new().group("http").dimension("url", &run.endpoint);
    match Request::get(&run.endpoint).timeout(TIMEOUT).send() {
        Ok(reply) => {
            let up = if reply.is_success() { 1.0 } else { 0.0 };
            Ok(http
                .gauge("up", up)
                .gauge("status", reply.status.into())
                .gauge("latency_ms", reply.elapsed_ms()))
        }
        // An endpoint that is down is what we came to measure; anything else is our own trouble.
        Err(error) if ["unavailable", "deadline"].contains(&error.code.as_str()) => {
            Ok(http.gauge("up", 0.0))
        }
        Err(error) => Err(error),
    }
}
