//! The probe in Rust: what every native SDK must be able to do, told by its config.

mod helpers;
mod sync;

use millrace::*;
use std::time::Duration;

const BIG: i64 = 9_007_199_254_740_993;

export!(fetch: rows, register: defaults, poll: oven, discover: ovens, enrich: documents, route: echo);
export!(sync: sync::written, before_sync: sync::allowed, after_sync: sync::told);
export!("function:roundtrip": again, "function:rewrite": anew, "function:helpers": helpers::helped);

/// Row `i` of `count`, spread evenly over the window.
fn row(run: &FetchCall, i: i64, count: i64) -> Object {
    Object::new()
        .with("time", run.begin.plus_us((run.end.0 - run.begin.0) / count * i))
        .with("id", BIG + i)
        .with("name", format!("rød grød ☃ 𝄞 \"{i}\"\n"))
        .with("value", i as f64 / 4.0)
        .with("flag", i & 1 == 1)
}

fn rows(run: FetchCall) -> Result<Fetched> {
    let count = run.config.get("rows").as_i64().unwrap_or(10);
    let mut rows = run.rows();
    match run.config.get("mode").as_str().unwrap_or("rows") {
        "emit" => return emitted(&run, count),
        "host" => return hosted(&run),
        "http" => return downloaded(&run),
        "empty" => return run.no_data(),
        "fail" => return Err(Error::new("asked_to", "failed as asked: é☃")),
        "retry" => return Err(Error::new("busy", "later").retry(Duration::from_millis(50))),
        "crash" => {
            let none: Vec<i64> = Vec::new();
            rows.add(none[count as usize]);
        }
        "page" => {
            let page = run.cursor.as_i64().unwrap_or(0);
            rows.add(row(&run, page, 3));
            let done = rows.ok()?;
            return Ok(if page < 2 { done.next(page + 1) } else { done });
        }
        "integers" => {
            let range = run.range.ok_or_else(|| Error::new("bad_input", "no integers"))?;
            let has = vec![Json::from(range.has(range.begin)), Json::from(range.has(range.end))];
            let ends = Object::new().with("begin", range.begin.to_string()).with("end", range.end.to_string());
            rows.add(ends.with("has", has));
            return Ok(rows.ok()?.watermark_integer(range.end + 1));
        }
        _ => (0..count).for_each(|i| rows.add(row(&run, i, count))),
    }
    rows.ok()
}

/// Rows in batches, each followed by a checkpoint that a later attempt starts after.
fn emitted(run: &FetchCall, count: i64) -> Result<Fetched> {
    let batches = run.config.get("batches").as_i64().unwrap_or(1);
    let mut rows = run.emitter();
    for batch in run.cursor.get("batches").as_i64().unwrap_or(0)..batches {
        for i in batch * count / batches..(batch + 1) * count / batches {
            rows.add(row(run, i, count))?;
        }
        rows.checkpoint(Object::new().with("batches", batch + 1))?;
        progress((batch + 1) as f64, batches as f64, "halvveis ☃")?;
    }
    rows.ok()
}

fn hosted(run: &FetchCall) -> Result<Fetched> {
    log("warn", "logged: é☃");
    let mut rows = run.rows();
    let found = [
        kv::put("größe", Object::new().with("n", u64::MAX))?,
        kv::get("größe")?,
        query("SELECT {city:String}", Object::new().with("city", "Tromsø"), 10)?,
        Object::new().with("value", secret("token")?).into(),
        call_function("units", "convert", Object::new().with("from", 1))?,
    ];
    publish("alarm.high", Object::new().with("°C", 41.5))?;
    found.iter().for_each(|ok| rows.add(Object::new().with("ok", ok)));
    let now = now_ms();
    let random = random(16).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    rows.add(Object::new().with("now", now).with("clock", now / 1000.0).with("random", random));
    rows.ok()
}

fn downloaded(run: &FetchCall) -> Result<Fetched> {
    let url = run.config.get("url").as_str().unwrap_or("");
    let ask = Request::post(url, "hei").header("x-probe", "é").timeout(Duration::from_millis(1500));
    let got = ask.send()?;
    let mut rows = run.rows();
    let row = Object::new().with("status", got.status).with("body", got.text());
    rows.add(row.with("type", got.header("content-type")));
    rows.ok()
}

fn defaults(_: RegisterCall) -> Result<Registered> {
    let columns = Registered::new().column("time", "timestamp").column("id", "int64");
    Ok(columns.index("time").index("id").datetime("time"))
}

fn oven(run: PollCall) -> Result<Metrics> {
    let polls = run.previous.get("polls").as_f64().unwrap_or(0.0) + 1.0;
    let unit = run.context.get("unit").get("temperature").as_str().unwrap_or("°C");
    let oven = Metrics::new().group("oven").dimension("resource", &run.id).dimension("unit", unit);
    let oven = oven.gauge("temperature", 21.5).counter("polls", polls);
    let midnight = Time::parse("2012-01-01").ok_or_else(|| Error::new("bug", "no midnight"))?;
    Ok(oven.group("door").at(midnight).gauge("open", 1.0))
}

fn ovens(run: DiscoverCall) -> Result<Discovered> {
    Ok(Discovered::complete((0..2).map(|i| {
        let oven = Resource::new(&format!("oven-{i}"), "oven", "http://127.0.0.1/");
        oven.site(&run.site).label("shelf", "øverst")
    })))
}

fn documents(run: EnrichCall) -> Result<Documents> {
    let speed = Object::new().with("speed", run.config.get("speed")).with("of", run.id.as_str());
    let note = Document::new("note", "1", "naboen ☃").about("oven-2").ttl("5m");
    Ok(Documents::new([Document::new("port", "ø", speed), note]))
}

fn echo(call: RouteCall) -> Result<Answer> {
    if call.path == "/binary" {
        return Ok(Answer::new(200, "image/x", call.body));
    }
    if !call.path.starts_with("/echo/") {
        return Ok(Answer::error(404, "not_found", &call.path));
    }
    let body = Object::new()
        .with("name", call.param("name"))
        .with("q", call.query("q").unwrap_or("none"))
        .with("r", call.query("r").unwrap_or("none"))
        .with("body", String::from_utf8(call.body.clone())?);
    Ok(Answer::json(201, body).header("x-probe", "yes"))
}

/// Text, so that this function sees JSON that is none.
struct Text(Vec<u8>);

impl Call for Text {
    fn read(input: Vec<u8>) -> Result<Text> {
        Ok(Text(input))
    }
}

fn again(text: Text) -> Result<Json> {
    Json::parse(&text.0).map_err(|e| Error::new("refused", e.message))
}

/// Numbers and times in the crate's own forms.
fn anew(input: Json) -> Result<Json> {
    Ok(Json::Array(input.items().iter().map(|one| match one {
        Json::Text(text) => Time::parse(text).into(),
        number => number.as_f64().into(),
    }).collect()))
}
