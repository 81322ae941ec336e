//! Extism's own PDK for Rust: what each part of it does, by the list that all PDKs here follow.
use extism_pdk::*;

#[plugin_fn]
pub fn echo(input: Vec<u8>) -> FnResult<Vec<u8>> {
    Ok(input)
}

#[plugin_fn]
pub fn text(input: String) -> FnResult<String> {
    Ok(input)
}

#[plugin_fn]
pub fn config(key: String) -> FnResult<String> {
    Ok(config::get(key)?.unwrap_or("none".into()))
}

#[plugin_fn]
pub fn vars(value: Vec<u8>) -> FnResult<String> {
    let look = || var::get::<String>("naïve ☃").map(|found| found.unwrap_or("none".into()));
    let before = look()?;
    var::set("naïve ☃", value)?;
    let after = look()?;
    var::remove("naïve ☃")?;
    Ok([before, after, look()?].join("|"))
}

#[plugin_fn]
pub fn logs(text: String) -> FnResult<()> {
    debug!("{}", text);
    info!("{}", text);
    warn!("{}", text);
    error!("{}", text);
    Ok(())
}

#[plugin_fn]
pub fn http(url: String) -> FnResult<String> {
    let request = HttpRequest::new(url).with_method("POST").with_header("x-name", "blå");
    let answer = http::request(&request, Some("grød ☃"))?;
    let mood = answer.header("x-mood").unwrap_or("none");
    Ok(format!("{}|{}|{}", answer.status_code(), mood, String::from_utf8(answer.body())?))
}

#[plugin_fn]
pub fn fails(why: String) -> FnResult<()> {
    Err(WithReturnCode::new(Error::msg(why), 1))
}
