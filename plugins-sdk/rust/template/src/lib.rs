//! Rows of one window: begin inclusive, end exclusive.

use millrace::{FetchCall, Fetched, Object, Result, SECOND_US, export};

const MINUTE_US: i64 = 60 * SECOND_US;

export!(fetch: minutes);

fn minutes(run: FetchCall) -> Result<Fetched> {
    let greeting = run.config.get("greeting").as_str().unwrap_or("hello");
    let mut rows = run.rows();
    let mut time = run.begin;
    while time < run.end {
        let minute = time.0 / MINUTE_US % 60;
        rows.add(
            Object::new()
                .with("time", time)
                .with("greeting", greeting)
                .with("minute", minute),
        );
        time = time.plus_us(MINUTE_US);
    }
    rows.ok()
}
