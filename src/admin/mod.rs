//! The monitoring API: serves the cluster's shared memory over HTTP, on drover's own threads, so that it responds while
//! the program's JavaScript is blocked. `api` has its parts, `routes` the routes, `guard` the access control, `server`
//! the connections; `dashboard` is a page that uses the API; `socket` is the control socket for this user, `private`
//! its folders.

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

pub use api::{Api, Figures, Listeners, Refused, Taken};
pub use server::{bind, serve, serve_socket};
