//! What there is to poll: the sites of the config.

use millrace::{DiscoverCall, Discovered, Json, Resource, Result, export};

export!(discover: sites);

fn sites(run: DiscoverCall) -> Result<Discovered> {
    Ok(Discovered::complete(
        run.config.get("sites").items().iter().map(resource),
    ))
}

fn resource(site: &Json) -> Resource {
    let text = |name: &str| site.get(name).as_str().unwrap_or("");
    Resource::new(text("id"), "http", text("url"))
}
