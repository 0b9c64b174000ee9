//! Pages for developers: the API's description, twice, and a page for every error code. Nothing in them
//! is loaded from elsewhere, and the browser is told so.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Router, routing::get};
use utoipa_swagger_ui::SwaggerUi;

use super::codes::{self, Code};
use super::problem::Problem;

/// The viewer as its authors publish it, but for a picture that it would ask another host for.
static REDOC: LazyLock<String> =
    LazyLock::new(|| include_str!("../web/redoc.standalone.js").replace(REDOC_PICTURE, "data:,"));
const REDOC_PICTURE: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";

static REDOC_PAGE: &str = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Counterfoil API</title></head>
<body><redoc spec-url="/openapi.json" disable-search="true"></redoc><script src="/redoc/redoc.js"></script></body>
</html>
"#;

/// The policy of every page: its own scripts, styles and pictures, and inline styles, which both viewers
/// write.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'";

/// `/openapi.json`, `/docs` and `/redoc` for this description, and `/errors`.
pub fn routes(openapi: utoipa::openapi::OpenApi) -> Router {
    let swagger: Router = SwaggerUi::new("/docs").url("/openapi.json", openapi).into();
    Router::new()
        .merge(swagger)
        .route("/", get(|| async { Redirect::temporary("/docs") }))
        .route("/redoc", get(|| async { Html(REDOC_PAGE) }))
        .route("/redoc/redoc.js", get(redoc_script))
        .route("/errors", get(|| async { Html(index()) }))
        .route("/errors/{code}", get(error_page))
        .layer(axum::middleware::map_response(confine))
}

async fn confine(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}

async fn redoc_script() -> Response {
    (
        [
            (header::CONTENT_TYPE, "text/javascript"),
            (header::CACHE_CONTROL, "max-age=86400"),
        ],
        REDOC.as_str(),
    )
        .into_response()
}

async fn error_page(Path(name): Path<String>) -> Result<Html<String>, Problem> {
    let code = codes::find(&name)
        .ok_or_else(|| Problem::new(&codes::NOT_FOUND, "there is no such error code"))?;
    Ok(Html(page(code.name, &entry(code))))
}

fn index() -> String {
    page(
        "Error codes",
        &codes::ALL
            .iter()
            .map(|code| entry(code))
            .collect::<String>(),
    )
}

fn entry(code: &Code) -> String {
    let retry = if code.retryable {
        "The same request may succeed later."
    } else {
        "The same request fails again."
    };
    format!(
        "<section><h2><code>{}</code></h2><p><strong>{}</strong> · HTTP {}</p><p>{}</p><p>{retry}</p></section>\n",
        code.name,
        escape(code.title),
        code.status.as_u16(),
        with_code(&escape(code.advice)),
    )
}

fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} · Counterfoil</title><style>body{{font:16px/1.5 system-ui;max-width:44rem;margin:2rem auto;padding:0 1rem}}\
         </style></head><body><h1>{title}</h1>\n{content}<p><a href=\"/errors\">All codes</a> · <a href=\"/docs\">API</a></p></body></html>\n"
    )
}

/// Text whose backticks mark code, as HTML.
fn with_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let marked = parts.map(|(i, part)| match i % 2 {
        0 => part.to_owned(),
        _ => format!("<code>{part}</code>"),
    });
    marked.collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
