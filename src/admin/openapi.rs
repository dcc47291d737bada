//! The API's own description (OpenAPI 3.1).

use serde_json::{Value, json};

use super::logs;
use crate::component::Component;
use crate::metrics::history::SERIES;

/// The largest whole number that JavaScript tells from its neighbours.
const MAX_EXACT: u64 = (1 << 53) - 1;

pub fn document() -> Value {
    let error = json!({
        "description": "What was wrong and what to do.",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    });
    let answer = |what: &str, schema: Value| json!({ "description": what, "content": { "application/json": { "schema": schema } } });
    let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let get = |summary: &str, answers: Value, parameters: Value| {
        let mut answers = answers;
        answers["401"] = error.clone();
        answers["403"] = error.clone();
        json!({ "get": {
            "summary": summary, "parameters": parameters, "responses": answers, "security": [{}, { "token": [] }],
        } })
    };
    let post = |summary: &str, more: Value| {
        let mut operation = json!({
            "summary": summary,
            "security": [{ "token": [] }, {}],
            "responses": {
                "200": answer("It is done; the workers that serve because of it.", schema("Ordered")),
                "202": answer("It takes longer and goes on.", schema("Ordered")),
                "400": error, "401": error, "403": error, "409": error,
            },
        });
        if let (Some(operation), Some(more)) = (operation.as_object_mut(), more.as_object()) {
            operation.extend(more.clone());
        }
        operation
    };
    let mut by_id = post(
        "Replaces one worker; no request is lost.",
        json!({
            "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "pattern": "^[0-9]+$" } }],
        }),
    );
    by_id["responses"]["404"] = error.clone();
    let diagnosis = |summary: &str, parameters: Value| {
        let mut operation = by_id.clone();
        operation["summary"] = summary.into();
        operation["description"] =
            "Answers when the file is written. Needs monitoring.token to be set and shown: \
                                    the file holds what the program has in memory. One at a time a worker."
                .into();
        operation["security"] = json!([{ "token": [] }]);
        operation["responses"]["200"] = answer("The file, readable for its user alone.", schema("Diagnosis"));
        operation["responses"]["504"] = error.clone();
        if let Some(responses) = operation["responses"].as_object_mut() {
            responses.remove("202");
        }
        if let (Some(all), Some(more)) = (operation["parameters"].as_array_mut(), parameters.as_array()) {
            all.extend(more.clone());
        }
        json!({ "post": operation })
    };
    let snapshot =
        diagnosis("A heap snapshot of a worker, for the memory panel of Chrome's DevTools.", json!([]));
    let profile = diagnosis(
        "A CPU profile of a worker, for the performance panel of Chrome's DevTools.",
        json!([{ "name": "seconds", "in": "query", "description": "How long.",
                 "schema": { "type": "integer", "minimum": 1, "maximum": 60, "default": 10 } }]),
    );
    let mut scale = post(
        "Another number of workers.",
        json!({
            "requestBody": { "required": true, "content": { "application/json": { "schema": {
                "type": "object", "required": ["workers"], "additionalProperties": false,
                "properties": { "workers": { "type": "integer", "minimum": 1, "maximum": 1024 } },
            } } } },
        }),
    );
    for status in ["413", "415", "422"] {
        scale["responses"][status] = error.clone();
    }
    let logs = get(
        "The last lines of the log, and what comes most often.",
        json!({
            "200": answer("Lines, the oldest first.", schema("Logs")),
            "400": error,
        }),
        log_filters(),
    );
    json!({
        "openapi": "3.1.0",
        "info": { "title": "drover", "version": env!("CARGO_PKG_VERSION"), "description": "A cluster's monitoring API." },
        "paths": {
            "/cluster/health": get("Whether the workers are well.", json!({
                "200": answer("Healthy or degraded.", schema("Health")),
                "503": answer("Critical: less than half of the workers are well.", schema("Health")),
            }), json!([])),
            "/cluster/stats": get("The cluster's metrics.", json!({ "200": answer("Metrics.", schema("Metrics")) }), json!([])),
            "/cluster/workers": get("The workers.", json!({
                "200": answer("Workers.", json!({ "type": "array", "items": schema("Worker") })),
            }), json!([])),
            "/cluster/history": get("What a number was.", json!({
                "200": answer("Points of [time, value].", schema("History")),
                "400": error,
            }), json!([
                { "name": "metric", "in": "query", "required": true, "schema": { "type": "string", "enum": SERIES } },
                { "name": "from", "in": "query", "description": "Milliseconds since 1970.", "schema": { "type": "integer", "minimum": 0 } },
                { "name": "step", "in": "query", "description": "Milliseconds.", "schema": { "type": "integer", "minimum": 0 } },
            ])),
            "/cluster/errors": get("What went wrong, by kind, and the circuits that are not closed.", json!({
                "200": answer("Errors, the latest first.", schema("Errors")),
            }), json!([])),
            "/cluster/scaling": get("The cluster's size, and how it came to be.", json!({
                "200": answer("Sizes.", schema("Scaling")),
            }), json!([])),
            "/cluster/events": get("Events as they happen (server-sent events).", json!({
                "200": { "description": "A stream: each event has an id, its type and, as data, itself in JSON.", "content": {
                    "text/event-stream": { "schema": { "type": "string" } },
                } },
                "400": error, "503": error,
            }), json!([
                { "name": "Last-Event-ID", "in": "header", "description": "Go on after this one.", "schema": { "type": "string" } },
            ])),
            "/cluster/logs": logs,
            "/cluster/log-level": { "post": log_level() },
            "/metrics": get("Metrics for Prometheus.", json!({
                "200": { "description": "The text format, or OpenMetrics for who accepts it.", "content": {
                    "text/plain": { "schema": { "type": "string" } },
                    "application/openmetrics-text": { "schema": { "type": "string" } },
                } },
                "404": error,
            }), json!([])),
            "/": get("The dashboard.", json!({
                "200": { "description": "A page, unless monitoring.dashboard is false.", "content": { "text/html": { "schema": { "type": "string" } } } },
                "404": error,
            }), json!([])),
            "/openapi.json": get("This document.", json!({ "200": answer("OpenAPI.", json!({ "type": "object" })) }), json!([])),
            "/cluster/restart": { "post": post("Replaces every worker, one after the other; no request is lost.", json!({})) },
            "/cluster/scale": { "post": scale },
            "/cluster/workers/{id}/restart": { "post": by_id },
            "/cluster/workers/{id}/heap-snapshot": snapshot,
            "/cluster/workers/{id}/cpu-profile": profile,
        },
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "monitoring.token" } },
            "schemas": {
                "Error": object(json!({ "error": object(json!({ "code": { "type": "string" }, "message": { "type": "string" } })) })),
                "Ordered": object(json!({ "workers": { "type": ["array", "null"], "items": { "type": "string" } } })),
                "Diagnosis": object(json!({ "file": { "type": "string" }, "bytes": { "type": "integer" } })),
                "Health": object(json!({
                    "healthy": { "type": "boolean" },
                    "status": { "enum": ["healthy", "degraded", "critical"] },
                    "totalWorkers": { "type": "integer" }, "healthyWorkers": { "type": "integer" },
                    "unhealthyWorkers": { "type": "array", "items": { "type": "string" } },
                    "lastHealthCheck": { "type": ["integer", "null"] },
                    "details": { "type": "array", "items": object(json!({
                        "workerId": { "type": "string" }, "healthy": { "type": "boolean" },
                        "reasons": { "type": "array", "items": { "type": "string" } },
                    })) },
                })),
                "Worker": object(and(
                    typed(&[
                        ("string", &["id", "workerId", "state", "status", "detail"]),
                        ("integer", &[
                            "generation", "startTime", "uptime", "restarts", "replacements", "port", "requestCount", "activeRequests",
                            "activeConnections",
                        ]),
                        ("number", &["averageResponseTime"]),
                        ("boolean", &["healthy"]),
                    ]),
                    json!({
                        "pid": { "type": ["integer", "null"] }, "memoryUsage": { "type": ["integer", "null"] },
                        "cpuUsage": { "type": ["number", "null"] }, "eventLoopLag": { "type": ["number", "null"] },
                        "health": object(json!({
                            "status": { "type": "string" }, "consecutiveFailures": { "type": "integer" },
                            "lastCheck": { "type": ["integer", "null"] }, "reason": { "type": ["string", "null"] },
                            "metrics": { "type": ["object", "null"] },
                        })),
                    }),
                )),
                "Metrics": object(and(
                    typed(&[
                        ("integer", &[
                            "timestamp", "totalWorkers", "activeWorkers", "totalRequests", "totalErrors", "bytesReceived",
                            "bytesSent", "memoryUsage", "queueLength", "refusedConnections", "activeConnections",
                            "activeRequests", "restartCount", "replacementCount", "uptime",
                        ]),
                        ("number", &[
                            "requestsPerSecond", "averageResponseTime", "p50", "p90", "p99", "p999", "errorRate",
                            "cpuUsage", "eventLoopLag",
                        ]),
                        ("object", &["custom", "userMetrics"]),
                    ]),
                    json!({
                        "responses": { "type": "object", "additionalProperties": { "type": "integer" } },
                        "gc": object(typed(&[("integer", &["count"]), ("number", &["time"])])),
                        "system": { "type": ["object", "null"] },
                        "lastScalingAction": { "type": ["object", "null"] },
                        "workers": { "type": "array", "items": schema("Worker") },
                        "messages": { "type": "object", "additionalProperties": schema("Messages") },
                    }),
                )),
                "Messages": object(json!({
                    "sent": { "type": "integer" }, "received": { "type": "integer" }, "answered": { "type": "integer" },
                    "failed": { "type": "integer" }, "averageTime": { "type": "number" },
                })),
                "Errors": object(json!({
                    "errors": { "type": "array", "items": object(json!({
                        "fingerprint": { "type": "string" }, "class": { "type": "string" },
                        "severity": { "enum": ["debug", "info", "warn", "error"] }, "message": { "type": "string" },
                        "count": { "type": "integer" }, "first": { "type": "integer" }, "last": { "type": "integer" },
                        "workers": { "type": "array", "items": { "type": "string" } },
                        "stack": { "type": ["string", "null"] },
                        "trend": { "type": "array", "description": "Counts a minute, the present one last.", "items": { "type": "integer" } },
                    })) },
                    "circuits": { "type": "array", "items": object(json!({
                        "workerId": { "type": "string" }, "kind": { "enum": ["ejection", "restart"] },
                        "state": { "enum": ["open", "half-open"] }, "until": { "type": ["integer", "null"] },
                    })) },
                    "dropped": { "type": "integer" },
                })),
                "Decision": object(json!({
                    "action": { "enum": ["up", "down"] }, "from": { "type": "integer" }, "to": { "type": "integer" },
                    "reason": { "type": "string" }, "timestamp": { "type": "integer" },
                })),
                "Scaling": object(json!({
                    "workers": { "type": "integer" }, "target": { "type": "integer" }, "autoScaling": { "type": ["object", "null"] },
                    "last": { "anyOf": [schema("Decision"), { "type": "null" }] },
                    "decisions": { "type": "array", "items": schema("Decision") },
                })),
                "Logs": lines(),
                "History": object(json!({
                    "metric": { "type": "string" },
                    "points": { "type": "array", "items": { "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 } },
                })),
            },
        },
    })
}

fn log_filters() -> Value {
    let filter = |name: &str, what: &str, schema: Value| json!({ "name": name, "in": "query", "description": what, "schema": schema });
    let whole = json!({ "type": "integer", "minimum": 0, "maximum": MAX_EXACT });
    json!([
        filter("level", "This level and louder ones.", json!({ "type": "string", "enum": logs::LEVELS })),
        filter(
            "worker",
            "A worker's lines, or drover's own.",
            json!({ "type": "string", "pattern": "^(primary|[0-9]{1,4})$" })
        ),
        filter("text", "In the message or the fields, in upper or lower case.", json!({ "type": "string" })),
        filter("since", "Milliseconds since 1970.", whole.clone()),
        filter("requestId", "Lines that were written during this request.", json!({ "type": "string" })),
        filter("after", "Lines with a greater id, the oldest first; without it the newest.", whole),
        filter(
            "limit",
            "Lines in the answer; 200 unless told.",
            json!({ "type": "integer", "minimum": 1, "maximum": logs::MAX_LINES })
        ),
    ])
}

fn log_level() -> Value {
    let error = json!({
        "description": "What was wrong and what to do.",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    });
    let body = json!({
        "level": { "type": "string", "enum": logs::OWN_LEVELS },
        "component": { "type": ["string", "null"], "enum": Component::NAMES.into_iter().map(Value::from).chain([Value::Null]).collect::<Vec<_>>() },
    });
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
    json!({
        "summary": "How loud drover's own lines are from now on: all of them, or one component's.",
        "security": [{ "token": [] }, {}],
        "requestBody": { "required": true, "content": content(json!({ "type": "object", "required": ["level"], "additionalProperties": false, "properties": body })) },
        "responses": {
            "200": { "description": "It is so.", "content": content(object(body)) },
            "400": error, "401": error, "403": error, "413": error, "415": error, "422": error,
        },
    })
}

fn lines() -> Value {
    object(json!({
        "lines": { "type": "array", "items": object(json!({
            "id": { "type": "integer" }, "time": { "type": "integer" }, "level": { "enum": logs::LEVELS },
            "worker": { "type": ["string", "null"] }, "requestId": { "type": ["string", "null"] },
            "msg": { "type": "string" }, "fields": { "type": "object" },
        })) },
        "frequent": { "type": "array", "items": object(json!({
            "message": { "type": "string" }, "level": { "enum": logs::LEVELS },
            "count": { "type": "integer" }, "last": { "type": "integer" },
        })) },
        "dropped": { "type": "integer" },
        "next": { "type": "integer" },
    }))
}

/// Properties by their type.
fn typed(kinds: &[(&str, &[&str])]) -> Value {
    let each = kinds.iter().flat_map(|(kind, names)| names.iter().map(move |name| (*name, *kind)));
    Value::Object(each.map(|(name, kind)| (name.to_owned(), json!({ "type": kind }))).collect())
}

/// The properties of both.
fn and(mut properties: Value, more: Value) -> Value {
    if let (Some(all), Value::Object(more)) = (properties.as_object_mut(), more) {
        all.extend(more);
    }
    properties
}

/// Every property is there.
fn object(properties: Value) -> Value {
    let required: Vec<String> =
        properties.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}
