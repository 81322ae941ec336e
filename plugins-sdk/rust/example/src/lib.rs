//! Earthquakes from the USGS catalogue (GeoJSON), page by page.

use millrace::{Error, FetchCall, Fetched, Json, Object, Request, Result, Time, checkpoint, export};

const PAGE: i64 = 1_000;
const MILLISECOND_US: i64 = 1_000;

export!(fetch: quakes);

/// One page a call: the cursor is how many quakes are behind us, and `next` asks for the page after.
fn quakes(run: FetchCall) -> Result<Fetched> {
    let offset = run.cursor.as_i64().unwrap_or(0);
    let page = ask(&run, offset)?;
    let features = page.get("features").items();
    let mut rows = run.emitter();
    for feature in features {
        let quake = read(feature)?;
        if run.has(quake.0) {
            rows.add(quake.1)?;
        }
    }
    rows.flush()?;
    if features.len() as i64 == PAGE {
        checkpoint(offset + PAGE)?;
        return Ok(rows.ok()?.next(offset + PAGE));
    }
    if features.is_empty() && offset == 0 { run.no_data() } else { rows.ok() }
}

fn ask(run: &FetchCall, offset: i64) -> Result<Json> {
    let magnitude = run.config.get("min_magnitude").as_f64().unwrap_or(2.5);
    let url = format!(
        "https://earthquake.usgs.gov/fdsnws/event/1/query?format=geojson&orderby=time-asc&starttime={}&endtime={}\
         &minmagnitude={magnitude}&limit={PAGE}&offset={}",
        run.begin,
        run.end,
        offset + 1,
    );
    Request::get(&url).send()?.success()?.json()
}

fn read(feature: &Json) -> Result<(Time, Object)> {
    let properties = feature.get("properties");
    let [longitude, latitude, depth] = [0, 1, 2].map(|i| feature.get("geometry").get("coordinates").at(i));
    let ms = properties.get("time").as_i64().ok_or_else(|| {
        Error::new("bad_answer", format!("a quake without a time: {}", feature.get("id")))
    })?;
    let time = Time(ms * MILLISECOND_US);
    let row = Object::new()
        .with("time", time)
        .with("id", feature.get("id"))
        .with("magnitude", properties.get("mag"))
        .with("place", properties.get("place"))
        .with("longitude", longitude)
        .with("latitude", latitude)
        .with("depth_km", depth);
    Ok((time, row))
}
