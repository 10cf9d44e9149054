//! Calls about images.

use bytes::Bytes;
use wire::docker::container::ContainerConfig;
use wire::docker::image::{
    HistoryItem, IdResponse, ImageDeleteItem, ImageSummary, ImagesPruneReport,
};
use wire::docker::registry::{
    AuthConfig, AuthResponse, BlobTaken, ManifestDocument, ManifestPublished, ManifestToPublish,
    SearchResult,
};
use wire::oci::image::Index;

use crate::request::segment;
use crate::{Body, Client, Response, Result};

fn path(name: &str, rest: &str) -> String {
    format!("/images/{}{rest}", segment(name))
}

/// Every function fails when the connection does, or with the engine's refusal.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Lists images.
    pub async fn image_list(
        &self,
        all: bool,
        filters: &[(String, String)],
    ) -> Result<Vec<ImageSummary>> {
        self.get("/images/json").filters(filters).flag("all", all).fetch_list().await
    }

    /// Lists images with the manifests behind their names.
    pub async fn image_list_manifests(
        &self,
        all: bool,
        filters: &[(String, String)],
    ) -> Result<Vec<ImageSummary>> {
        let request = self.get("/images/json").filters(filters).flag("all", all);
        request.flag("manifests", true).fetch().await
    }

    /// Everything about an image, as the engine wrote it.
    pub async fn image_inspect_raw(&self, name: &str, platform: Option<&str>) -> Result<Bytes> {
        let mut request = self.get(path(name, "/json"));
        if let Some(platform) = platform {
            request = request.query("platform", platform);
        }
        request.send().await?.bytes().await
    }

    /// How an image was made, newest step first.
    pub async fn image_history(
        &self,
        name: &str,
        platform: Option<&str>,
    ) -> Result<Vec<HistoryItem>> {
        let mut request = self.get(path(name, "/history"));
        if let Some(platform) = platform {
            request = request.query("platform", platform);
        }
        request.fetch().await
    }

    /// Gives an image one more name.
    pub async fn image_tag(&self, name: &str, repository: &str, tag: &str) -> Result<()> {
        self.post(path(name, "/tag")).query("repo", repository).query("tag", tag).run().await
    }

    /// Removes a name of an image, and the image with its last name; or only the images for some
    /// platforms, each as JSON.
    pub async fn image_remove(
        &self,
        name: &str,
        (force, no_prune): (bool, bool),
        platforms: &[String],
    ) -> Result<Vec<ImageDeleteItem>> {
        let mut request = self.delete(path(name, "")).flag("force", force);
        for platform in platforms {
            request = request.query("platforms", platform);
        }
        request.flag("noprune", no_prune).fetch().await
    }

    /// Fetches an image from a registry; the answer is a stream of progress lines.
    pub async fn image_pull(
        &self,
        repository: &str,
        tag: &str,
        platform: &str,
        auth: &str,
    ) -> Result<Response<'_>> {
        let mut request = self.post("/images/create").query("fromImage", repository);
        request = request.query("tag", tag);
        if !platform.is_empty() {
            request = request.query("platform", platform);
        }
        request.header("X-Registry-Auth", auth).send().await
    }

    /// Makes an image of a tar archive: the body, or what is at a URL.
    pub async fn image_import(
        &self,
        query: &[(&str, &str)],
        archive: Body,
    ) -> Result<Response<'_>> {
        let mut request = self.post("/images/create");
        for (name, value) in query {
            request = request.query(name, value);
        }
        request.body("text/plain", archive).send().await
    }

    /// Sends an image to a registry; the answer is a stream of progress lines.
    pub async fn image_push(
        &self,
        repository: &str,
        tag: &str,
        platform: Option<&str>,
        auth: &str,
    ) -> Result<Response<'_>> {
        let mut request = self.post(path(repository, "/push"));
        if !tag.is_empty() {
            request = request.query("tag", tag);
        }
        if let Some(platform) = platform {
            request = request.query("platform", platform);
        }
        request.header("X-Registry-Auth", auth).send().await
    }

    /// Images with all their layers, but those of the images in `since`, as one tar archive.
    pub async fn image_save(
        &self,
        names: &[String],
        platform: Option<&str>,
        since: &[&str],
    ) -> Result<Response<'_>> {
        let mut request = self.get("/images/get");
        for name in names {
            request = request.query("names", name);
        }
        for name in since {
            request = request.query("since", name);
        }
        if let Some(platform) = platform {
            request = request.query("platform", platform);
        }
        request.send().await
    }

    /// Takes in images from a tar archive; the answer is a stream of progress lines.
    pub async fn image_load(
        &self,
        quiet: bool,
        platform: Option<&str>,
        archive: Body,
    ) -> Result<Response<'_>> {
        let mut request = self.post("/images/load").query("quiet", if quiet { "1" } else { "0" });
        if let Some(platform) = platform {
            request = request.query("platform", platform);
        }
        request.body("application/x-tar", archive).send().await
    }

    /// Makes an image of a container.
    pub async fn image_commit(
        &self,
        query: &[(&str, &str)],
        config: Option<&ContainerConfig>,
    ) -> Result<String> {
        let mut request = self.post("/commit");
        for (name, value) in query {
            request = request.query(name, value);
        }
        let created: IdResponse = request.json(&config)?.fetch().await?;
        Ok(created.id)
    }

    /// Removes images that nothing uses.
    pub async fn image_prune(&self, filters: &[(String, String)]) -> Result<ImagesPruneReport> {
        self.post("/images/prune").filters(filters).fetch().await
    }

    /// Searches a registry.
    pub async fn image_search(
        &self,
        term: &str,
        limit: i64,
        filters: &[(String, String)],
    ) -> Result<Vec<SearchResult>> {
        let mut request = self.get("/images/search").query("term", term).filters(filters);
        if limit > 0 {
            request = request.query("limit", limit.to_string());
        }
        request.fetch().await
    }

    /// Asks the engine to check credentials with their registry.
    pub async fn registry_login(&self, auth: &AuthConfig) -> Result<AuthResponse> {
        self.post("/auth").json(auth)?.fetch().await
    }

    /// A document of a registry, as it is there. With `insecure`, the registry's certificate is
    /// not checked, and it may be spoken to without TLS.
    pub async fn distribution_manifest(
        &self,
        name: &str,
        insecure: bool,
        auth: &str,
    ) -> Result<ManifestDocument> {
        let request = self.get(format!("/distribution/{}/manifest", segment(name)));
        request.flag("insecure", insecure).header("X-Registry-Auth", auth).fetch().await
    }

    /// Gives a registry a document under a tag; returns its digest.
    pub async fn distribution_publish(
        &self,
        name: &str,
        wanted: &ManifestToPublish,
        insecure: bool,
        auth: &str,
    ) -> Result<String> {
        let request = self.put(format!("/distribution/{}/manifest", segment(name)));
        let request = request.flag("insecure", insecure).header("X-Registry-Auth", auth);
        let published: ManifestPublished = request.json(wanted)?.fetch().await?;
        Ok(published.digest)
    }

    /// What refers to a document of a registry, of one artifact type or of all.
    pub async fn distribution_referrers(
        &self,
        name: &str,
        artifact_type: &str,
        auth: &str,
    ) -> Result<Index> {
        let mut request = self.get(format!("/distribution/{}/referrers", segment(name)));
        if !artifact_type.is_empty() {
            request = request.query("artifactType", artifact_type);
        }
        request.header("X-Registry-Auth", auth).fetch().await
    }

    /// Gives a repository a blob.
    pub async fn distribution_blob_send(
        &self,
        name: &str,
        content: Body,
        auth: &str,
    ) -> Result<BlobTaken> {
        let request = self.post(format!("/distribution/{}/blobs", segment(name)));
        let request = request.header("X-Registry-Auth", auth);
        request.body("application/octet-stream", content).fetch().await
    }

    /// A blob of a repository.
    pub async fn distribution_blob(
        &self,
        name: &str,
        (digest, size): (&str, u64),
        auth: &str,
    ) -> Result<Response<'_>> {
        let request = self.get(format!("/distribution/{}/blobs", segment(name)));
        let request = request.query("digest", digest).query("size", size.to_string());
        request.header("X-Registry-Auth", auth).send().await
    }
}
