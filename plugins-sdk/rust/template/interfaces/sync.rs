//! The CSV of each day, which the store reads as it is.

use millrace::{DAY_US, Result, SyncCall, Synced, emit_csv, export, get};

export!(sync: days);

fn days(run: SyncCall) -> Result<Synced> {
    let url = run.config.get("url").as_str().unwrap_or("");
    let mut time = run.begin;
    while time < run.end {
        let reply = get(&format!("{url}?day={}", time.day()))?.success()?;
        emit_csv(&reply.text())?;
        time = time.plus_us(DAY_US);
    }
    Ok(Synced::Ok)
}
