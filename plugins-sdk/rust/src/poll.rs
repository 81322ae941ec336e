//! `poll`: the metrics of one resource. `discover`: what there is to poll.

use crate::{Call, Json, Object, Output, Result, Time};

#[derive(Debug, Clone)]
pub struct PollCall {
    /// The resource, with `name`, `site`, `class`, `subclass` and `labels`.
    pub resource: Json,
    pub id: String,
    /// Where it is: a URL, an address.
    pub endpoint: String,
    pub config: Json,
    /// What the poll before answered with, or null.
    pub previous: Json,
    /// Documents about the resource, by namespace and key: of the namespaces that plugin.json lists for `poll`.
    pub context: Json,
    pub attempt: i64,
}

impl Call for PollCall {
    fn read(input: Vec<u8>) -> Result<PollCall> {
        let json = Json::parse(&input)?;
        let resource = json.get("resource");
        let text = |name: &str| resource.get(name).as_str().unwrap_or("").to_owned();
        Ok(PollCall {
            id: text("id"),
            endpoint: text("endpoint"),
            resource: resource.clone(),
            config: json.get("config").clone(),
            previous: json.get("previous").clone(),
            context: json.get("context").clone(),
            attempt: json.get("attempt").as_i64().unwrap_or(1),
        })
    }
}

/// Groups of values that were measured together: `Metrics::new().group("http").dimension("url", u).gauge("up", 1.0)`.
#[derive(Debug, Clone)]
pub struct Metrics {
    done: Vec<Json>,
    group: Object,
    dimensions: Object,
    values: Object,
    status: &'static str,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let (group, dimensions, values) = (Object::new(), Object::new(), Object::new());
        Metrics { done: Vec::new(), group, dimensions, values, status: "ok" }
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics::default()
    }
    /// Starts a group, measured at the time of the poll unless `at` says otherwise.
    pub fn group(mut self, name: &str) -> Metrics {
        self.end_group();
        self.group.set("group", name);
        self
    }
    pub fn at(mut self, time: Time) -> Metrics {
        self.group.set("time", time);
        self
    }
    pub fn dimension(mut self, name: &str, value: &str) -> Metrics {
        self.dimensions.set(name, value);
        self
    }
    /// A value that goes up and down.
    pub fn gauge(self, name: &str, value: f64) -> Metrics {
        self.value(name, value, "gauge")
    }
    /// A value that only grows, save for restarts: rates are made of it.
    pub fn counter(self, name: &str, value: f64) -> Metrics {
        self.value(name, value, "counter")
    }
    /// Some of what was to be measured is there, and the rest failed.
    pub fn partial(mut self) -> Metrics {
        self.status = "partial";
        self
    }

    fn value(mut self, name: &str, value: f64, kind: &str) -> Metrics {
        self.values.set(name, Object::new().with("value", value).with("type", kind));
        self
    }
    fn end_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        if group.is_empty() {
            return;
        }
        let (dimensions, values) = (std::mem::take(&mut self.dimensions), std::mem::take(&mut self.values));
        self.done.push(group.with("dimensions", dimensions).with("values", values).into());
    }
}

impl Output for Metrics {
    fn write(mut self) -> Result<Vec<u8>> {
        self.end_group();
        let json = Object::new().with("metrics", self.done).with("status", self.status);
        Ok(Json::from(json).to_string().into_bytes())
    }
}

#[derive(Debug, Clone)]
pub struct DiscoverCall {
    pub config: Json,
    pub site: String,
}

impl Call for DiscoverCall {
    fn read(input: Vec<u8>) -> Result<DiscoverCall> {
        let json = Json::parse(&input)?;
        let site = json.get("site").as_str().unwrap_or("").to_owned();
        Ok(DiscoverCall { config: json.get("config").clone(), site })
    }
}

/// Something to poll.
#[derive(Debug, Clone)]
pub struct Resource(Object);

impl Resource {
    pub fn new(id: &str, kind: &str, endpoint: &str) -> Resource {
        Resource(Object::new().with("id", id).with("type", kind).with("endpoint", endpoint))
    }
    pub fn site(self, site: &str) -> Resource {
        self.set("site", site)
    }
    /// Labels travel with the resource to its polls.
    pub fn label(mut self, name: &str, value: &str) -> Resource {
        let mut labels = match self.0.get("labels") {
            Some(Json::Object(labels)) => labels.clone(),
            _ => Object::new(),
        };
        labels.set(name, value);
        self.0.set("labels", labels);
        self
    }
    /// `class`, `subclass`, `ttl`.
    pub fn set(mut self, name: &str, value: &str) -> Resource {
        self.0.set(name, value);
        self
    }
}

#[derive(Debug, Clone)]
pub struct Discovered {
    resources: Vec<Json>,
    complete: bool,
}

impl Discovered {
    /// These are all: resources that are not among them may be removed.
    pub fn complete(resources: impl IntoIterator<Item = Resource>) -> Discovered {
        Discovered { resources: resources.into_iter().map(|r| r.0.into()).collect(), complete: true }
    }
    /// There may be more: nothing is removed.
    pub fn incomplete(resources: impl IntoIterator<Item = Resource>) -> Discovered {
        Discovered { complete: false, ..Discovered::complete(resources) }
    }
}

impl Output for Discovered {
    fn write(self) -> Result<Vec<u8>> {
        let json = Object::new().with("resources", self.resources).with("complete", self.complete);
        Ok(Json::from(json).to_string().into_bytes())
    }
}
