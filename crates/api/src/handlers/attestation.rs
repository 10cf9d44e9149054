//! What builders attested of an image.

use wire::docker::image::AttestationStatement;

use super::image::platform;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply::{self, Reply};

/// `GET /images/{name}/attestations`.
pub(crate) async fn list(call: Call) -> Reply {
    let mut platforms = call.query.all("platform").filter(|text| !text.is_empty());
    let wanted = platforms.next().map(platform).transpose()?;
    if platforms.next().is_some() {
        return Err(Failure::invalid("only one platform can be given"));
    }
    let types: Vec<&str> = call.query.all("type").collect();
    let found = call.engine.images.attestations(&call.target, wanted).await?;
    let whole = call.query.flag("statement");
    let statements = found
        .into_iter()
        .filter(|it| types.is_empty() || types.contains(&it.predicate_type.as_str()))
        .map(|it| AttestationStatement {
            descriptor: it.descriptor,
            predicate_type: it.predicate_type,
            statement: whole.then_some(it.statement),
        });
    reply::json(&statements.collect::<Vec<_>>())
}
