//! Documents about resources: `enrich` writes them; polls are given them, and anybody who may can look.

use crate::{Call, Json, Object, Output, Result, call};

#[derive(Debug, Clone)]
pub struct EnrichCall {
    /// The resource, with `name`, `site`, `class`, `subclass` and `labels`.
    pub resource: Json,
    pub id: String,
    /// Where it is: a URL, an address.
    pub endpoint: String,
    pub config: Json,
    pub attempt: i64,
}

impl Call for EnrichCall {
    fn read(input: Vec<u8>) -> Result<EnrichCall> {
        let json = Json::parse(&input)?;
        let resource = json.get("resource");
        let text = |name: &str| resource.get(name).as_str().unwrap_or("").to_owned();
        Ok(EnrichCall {
            id: text("id"),
            endpoint: text("endpoint"),
            resource: resource.clone(),
            config: json.get("config").clone(),
            attempt: json.get("attempt").as_i64().unwrap_or(1),
        })
    }
}

/// What was found out about a resource. The namespace is declared in plugin.json, with the JSON Schema of the value.
#[derive(Debug, Clone)]
pub struct Document(Object);

impl Document {
    pub fn new(namespace: &str, key: &str, value: impl Into<Json>) -> Document {
        Document(Object::new().with("namespace", namespace).with("key", key).with("value", value))
    }
    /// `10m`; at most, and without this, the namespace's.
    pub fn ttl(mut self, ttl: &str) -> Document {
        self.0.set("ttl", ttl);
        self
    }
    /// About another resource than that of the call: its name, or its id when the same discovery found it.
    pub fn about(mut self, resource: &str) -> Document {
        self.0.set("resource", resource);
        self
    }
}

/// Documents that are not among them stay until their time is over.
#[derive(Debug, Clone)]
pub struct Documents {
    documents: Vec<Json>,
    status: &'static str,
}

impl Documents {
    pub fn new(documents: impl IntoIterator<Item = Document>) -> Documents {
        Documents { documents: documents.into_iter().map(|document| document.0.into()).collect(), status: "ok" }
    }
    /// Some of what was to be found out is there, and the rest failed.
    pub fn partial(mut self) -> Documents {
        self.status = "partial";
        self
    }
}

impl Output for Documents {
    fn write(self) -> Result<Vec<u8>> {
        let json = Object::new().with("documents", self.documents).with("status", self.status);
        Ok(Json::from(json).to_string().into_bytes())
    }
}

/// Whose documents are looked at.
#[derive(Debug, Clone)]
pub struct About(Option<String>);

/// The resource that this call is about.
pub fn own() -> About {
    About(None)
}

/// Another one, by its name.
pub fn of(resource: &str) -> About {
    About(Some(resource.to_owned()))
}

impl About {
    /// `value`, `instance`, `written`, `ttl_ms`; `value` is null when there is none. Errors: `denied`.
    pub fn get(&self, namespace: &str, key: &str) -> Result<Json> {
        call("context", self.ask("get", namespace, key))
    }
    /// Those whose key begins so, in `documents`.
    pub fn list(&self, namespace: &str, prefix: &str) -> Result<Json> {
        call("context", self.ask("list", namespace, prefix))
    }
    /// Pages, as with `kv::page`.
    pub fn page(&self, namespace: &str, prefix: &str, limit: u32, after: &str) -> Result<Json> {
        let mut request = self.ask("list", namespace, prefix).with("limit", limit);
        if !after.is_empty() {
            request.set("after", after);
        }
        call("context", request)
    }

    fn ask(&self, op: &str, namespace: &str, key: &str) -> Object {
        let mut request = Object::new().with("op", op).with("namespace", namespace).with("key", key);
        if let Some(resource) = &self.0 {
            request.set("resource", resource.as_str());
        }
        request
    }
}
