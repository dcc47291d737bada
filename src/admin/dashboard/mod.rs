//! The dashboard: one page and its files, embedded in the addon. The page contacts only this API, which its
//! Content-Security-Policy enforces; it has no inline scripts or styles.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::answer::refusal;
use super::api::Api;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file of the dashboard: its path, its content type, and its content.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 19] = [
    ("/", HTML, include_str!("page.html")),
    ("/dashboard/style.css", STYLE, include_str!("style.css")),
    ("/dashboard/panels.css", STYLE, include_str!("panels.css")),
    ("/dashboard/icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("/dashboard/main.js", SCRIPT, include_str!("main.js")),
    ("/dashboard/api.js", SCRIPT, include_str!("api.js")),
    ("/dashboard/cache.js", SCRIPT, include_str!("cache.js")),
    ("/dashboard/charts.js", SCRIPT, include_str!("charts.js")),
    ("/dashboard/controls.js", SCRIPT, include_str!("controls.js")),
    ("/dashboard/dom.js", SCRIPT, include_str!("dom.js")),
    ("/dashboard/fleet.js", SCRIPT, include_str!("fleet.js")),
    ("/dashboard/format.js", SCRIPT, include_str!("format.js")),
    ("/dashboard/log.js", SCRIPT, include_str!("log.js")),
    ("/dashboard/panels.js", SCRIPT, include_str!("panels.js")),
    ("/dashboard/table.js", SCRIPT, include_str!("table.js")),
    ("/dashboard/workers.js", SCRIPT, include_str!("workers.js")),
    ("/dashboard/uplot.js", SCRIPT, include_str!("uplot/uPlot.iife.min.js")),
    ("/dashboard/uplot.css", STYLE, include_str!("uplot/uPlot.min.css")),
    ("/dashboard/uplot-license.txt", "text/plain; charset=utf-8", include_str!("uplot/LICENSE")),
];

pub fn router() -> Router<Arc<Api>> {
    FILES.into_iter().fold(Router::new(), |router, file| {
        router.route(file.0, get(async move |State(api): State<Arc<Api>>| show(&api, file)))
    })
}

/// Whether the path is a file of the page. These files contain no data of the cluster.
pub fn is_part(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

fn show(api: &Api, (_, kind, text): File) -> Response {
    if !api.dashboard {
        let why = "monitoring.dashboard is false: this cluster serves no dashboard";
        return refusal(StatusCode::NOT_FOUND, "NOT_FOUND", why);
    }
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_files_that_are_served_and_nothing_else() {
        let named = FILES.iter().flat_map(|(path, _, text)| {
            let folder = if *path == "/" { "" } else { "/dashboard/" };
            let whole = text.split('"').filter(|word| word.starts_with("/dashboard/")).map(str::to_owned);
            let imported = text.split('\'').filter(|word| word.starts_with("./") && word.ends_with(".js"));
            whole.chain(imported.map(move |word| format!("{folder}{}", &word[2..]))).collect::<Vec<_>>()
        });
        let named: Vec<String> = named.collect();
        assert!(named.len() >= FILES.len() - 1, "{named:?}");
        for path in &named {
            assert!(FILES.iter().any(|(known, ..)| known == path), "{path}");
        }
        for (path, ..) in FILES.iter().filter(|(path, ..)| *path != "/") {
            assert!(named.iter().any(|known| known == path), "nobody asks for {path}");
        }
    }

    #[test]
    fn nothing_of_the_page_is_inline_or_from_elsewhere() {
        let page = FILES[0].2;
        for forbidden in ["style=", "<style", "onclick", "javascript:", "http:", "https:", "src=\"//"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(!page.contains("<script>"));
    }
}
