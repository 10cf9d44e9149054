//! Archives of and into containers: `cp` and `export`.

use engine::{ArchivePut, PathStat};
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use wire::docker::container as wire_container;

use crate::body::{ReplyBody, into_engine};
use crate::call::Call;
use crate::failure::Failure;
use crate::moment::rfc3339;
use crate::query::Query;
use crate::reply::{self, Reply};

const PATH_STAT: &str = "x-docker-container-path-stat";

/// `GET /containers/{id}/export`.
pub(crate) async fn export(call: Call) -> Reply {
    reply::archive(call.engine.containers.export(&call.target).await?).await
}

/// `HEAD /containers/{id}/archive`.
pub(crate) async fn stat(call: Call) -> Reply {
    let path = path(&call.query)?;
    let stat = call.engine.containers.path_stat(&call.target, path).await?;
    let mut response = reply::empty(StatusCode::OK)?;
    add_stat(&mut response, stat);
    Ok(response)
}

/// `GET /containers/{id}/archive`.
pub(crate) async fn download(call: Call) -> Reply {
    let path = path(&call.query)?;
    let (stat, stream) = call.engine.containers.archive_get(&call.target, path).await?;
    let mut response = reply::archive(stream).await?;
    add_stat(&mut response, stat);
    Ok(response)
}

/// `PUT /containers/{id}/archive`.
pub(crate) async fn upload(call: Call) -> Reply {
    let path = path(&call.query)?.to_owned();
    let options = ArchivePut {
        no_overwrite_dir_non_dir: call.query.flag("noOverwriteDirNonDir"),
        copy_uidgid: call.query.flag("copyUIDGID"),
    };
    call.guard.review_known(&call.engine, &call.target)?;
    let body = into_engine(call.body);
    call.engine.containers.archive_put(&call.target, &path, options, body).await?;
    reply::empty(StatusCode::OK)
}

fn path(query: &Query) -> Result<&str, Failure> {
    query.text("path").ok_or_else(|| Failure::invalid("bad parameter: path cannot be empty"))
}

fn add_stat(response: &mut Response<ReplyBody>, stat: PathStat) {
    let stat = wire_container::PathStat {
        name: stat.name,
        size: stat.size,
        mode: stat.mode,
        mtime: rfc3339(stat.mtime),
        link_target: stat.link_target,
    };
    // Neither can fail: a document of strings and numbers has a JSON form, base64 is ASCII.
    let json = serde_json::to_vec(&stat).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&crate::base64::encode(&json)) {
        response.headers_mut().insert(PATH_STAT, value);
    }
}
