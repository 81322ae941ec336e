//! Windows that the plugin writes itself, and the hooks around them.

use millrace::*;

pub fn written(run: SyncCall) -> Result<Synced> {
    match run.config.get("mode").as_str().unwrap_or("") {
        "no_data" => return Ok(Synced::NoData),
        "not_modified" => return Ok(Synced::NotModified),
        "partial" => return Ok(Synced::Partial),
        _ => {}
    }
    let mut rows = run.emitter();
    for n in run.cursor.get("n").as_i64().unwrap_or(0) + 1..=3 {
        rows.add(Object::new().with("n", n).with("time", run.begin))?;
        if n == 2 {
            rows.checkpoint(Object::new().with("n", n))?;
        }
    }
    rows.flush()?;
    Ok(Synced::Ok)
}

pub fn allowed(run: BeforeSyncCall) -> Result<Verdict> {
    let from = run.range.map_or_else(|| run.begin.day(), |range| range.begin.to_string());
    Ok(match run.config.get("closed").as_str() {
        None => Verdict::Proceed,
        Some(why) => Verdict::Veto(format!("{why}: {} from {from}", run.pipe.metric)),
    })
}

pub fn told(run: AfterSyncCall) -> Result<()> {
    let AfterSyncCall { outcome, rows, message, run, .. } = run;
    log("info", &format!("{outcome}: {rows} rows of {run}: {message}"));
    Ok(())
}
