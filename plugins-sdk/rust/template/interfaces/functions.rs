//! Functions that other plugins may call.

use millrace::{Json, Object, Result, export};

export!("function:summarize": summarize);

fn summarize(asked: Json) -> Result<Json> {
    let values: Vec<f64> = asked
        .get("values")
        .items()
        .iter()
        .filter_map(Json::as_f64)
        .collect();
    let summary = Object::new()
        .with("count", values.len() as i64)
        .with("min", values.iter().copied().fold(f64::INFINITY, f64::min))
        .with(
            "max",
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        )
        .with("mean", values.iter().sum::<f64>() / values.len() as f64);
    Ok(summary.into())
}
