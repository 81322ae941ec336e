//! Each helper of the SDK for a host function, tried once.

use millrace::*;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn code_of(result: Result<Json>) -> String {
    result.err().map_or("none".to_owned(), |error| error.code)
}

pub fn helped(at: Json) -> Result<Json> {
    let text = |name: &str| at.get(name).as_str().unwrap_or("").to_owned();
    let port = |name: &str| at.get(name).as_i64().unwrap_or(0) as u16;
    let host = &text("host");
    log_with("warn", "with fields", Object::new().with("count", 3).with("where", "Ålesund"));
    let midnight = Time::parse("2012-01-01").ok_or_else(|| Error::new("bug", "no midnight"))?;
    Metric::counter("probe.size", 1.5).dimension("unit", "°C").at(midnight).send()?;
    Metric::gauge("probe.more", 2.0).send()?;
    publish("alarm.high", Object::new().with("n", 1))?;
    sleep(Duration::from_millis(1))?;
    progress(2.0, 2.0, "ferdig ☃")?;

    let tcp = Socket::tcp(host, port("tcp")).until("\n").exchange("hello\r\n")?;
    let udp = Socket::udp(host, port("udp")).timeout(Duration::from_secs(2)).exchange([0u8, 255])?;
    let tls = Socket::tls(host, port("tls")).length(2).any_certificate().exchange("hi")?;
    let numbers: Vec<Json> = udp.data.iter().map(|byte| (*byte).into()).collect();
    let certificate = ping("tls", host, port("tls"), Duration::ZERO)?;
    let device = Snmp::new(host).port(port("snmp")).community("public");
    let below = device.clone().walk(&[&text("table")])?;
    let own = context::own();
    let found = own.get("port", "eth0")?;
    let listed = own.list("port", "eth")?;
    let keys: Vec<Json> = listed.get("documents").items().iter().map(|one| one.get("key").clone()).collect();
    let input = Object::new().with("from", 2);
    let ask = Request::post(&text("url"), "hei").header("authorization", &format!("Bearer {}", placeholder("token")));
    let out = Object::new()
        .with("kv", stored()?)
        .with("pages", paged()?)
        .with("tcp", tcp.text())
        .with("udp", numbers)
        .with("tls", tls.text())
        .with("there", ping("tcp", host, port("tcp"), MINUTE)?.get("reachable"))
        .with("closed", ping("tcp", host, port("closed"), Duration::ZERO)?.get("reason"))
        .with("certificate", certificate.get("certificate").get("subject"))
        .with("snmp", device.get(&[&text("oid")])?[0].get("value"))
        .with("below", below.get("values").items().len() as i64)
        .with("context", found.get("value"))
        .with("writer", found.get("instance"))
        .with("keys", keys)
        .with("nothing", own.get("port", "none")?.get("value"))
        .with("denied", code_of(context::of("oven-2").get("secret", "key")))
        .with("call", call_function_within(Duration::from_secs(5), "units", "convert", input)?)
        .with("http", ask.send()?.text())
        .with("plain", secret("plain")?)
        .with("csv", emit_csv("id,name\n1,å\n2,b\n")?);
    Ok(out.into())
}

fn stored() -> Result<Json> {
    let counted = |n: i64| Object::new().with("n", n);
    kv::put_for(MINUTE, "n", counted(1))?;
    let found = kv::get("n")?;
    kv::update_for(MINUTE, "n", counted(2), found.get("revision"))?;
    let stale = code_of(kv::update("n", 3, found.get("revision")));
    let taken = code_of(kv::create("n", 4));
    let swapped = kv::get("n")?;
    kv::delete("n")?;
    let out = Object::new()
        .with("value", found.get("value"))
        .with("lives", found.get("ttl_ms").as_f64().unwrap_or(0.0) > 0.0)
        .with("swapped", swapped.get("value"))
        .with("stale", stale)
        .with("taken", taken)
        .with("gone", kv::get("n")?.get("value"));
    Ok(out.into())
}

fn paged() -> Result<Vec<Json>> {
    for n in 1..=3 {
        kv::create_for(MINUTE, &format!("a:{n}"), n)?;
    }
    let (mut keys, mut after) = (Vec::new(), String::new());
    loop {
        let page = kv::page("a:", 2, &after)?;
        keys.extend(page.get("entries").items().iter().map(|entry| entry.get("key").clone()));
        match page.get("next").as_str() {
            Some(next) => after = next.to_owned(),
            None => return Ok(keys),
        }
    }
}
