//! The monitoring API: what the cluster's shared memory says, over HTTP, on threads of drover's own, so that it answers
//! while the program's JavaScript is busy. `api` is what it is made of, `routes` has what can be asked, `guard` who may,
//! `server` the connections;
//! `dashboard` is a page that asks; `socket` is the way in for this user alone, `private` the folders for it.

mod answer;
mod api;
mod connection;
mod dashboard;
pub mod diagnostics;
mod events;
mod exposition;
mod guard;
mod logs;
mod openapi;
pub mod private;
mod routes;
mod server;
pub mod socket;

pub use api::{Api, Listeners, Refused, Taken};
pub use server::{bind, serve, serve_socket};
