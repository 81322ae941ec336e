//! Answers over HTTP: `GET /greet/{name}?with=hei`.

use millrace::{Answer, Object, Result, RouteCall, export};

export!(route: greet);

fn greet(call: RouteCall) -> Result<Answer> {
    let greeting = format!(
        "{}, {}",
        call.query("with").unwrap_or("hello"),
        call.param("name")
    );
    Ok(Answer::json(200, Object::new().with("greeting", greeting)))
}
