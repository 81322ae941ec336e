//! What is behind an HTTP endpoint, kept as context of the resource.

use millrace::{Document, Documents, EnrichCall, Object, Result, export, get};

export!(enrich: inspect);

fn inspect(run: EnrichCall) -> Result<Documents> {
    let reply = get(&run.endpoint)?;
    let server = Object::new()
        .with("software", reply.header("server"))
        .with("content_type", reply.header("content-type"));
    Ok(Documents::new([Document::new("server", "http", server)]))
}
