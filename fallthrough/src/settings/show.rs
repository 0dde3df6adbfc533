//! Settings as text: for `config show`, without secrets.

use serde_json::{Value, json};

use crate::settings::origin::OriginKind;
use crate::settings::quantity::show_duration;
use crate::settings::{AvatarFront, ModelSettings, Settings};

impl Settings {
    /// All that holds, defaults included, with secrets left out.
    pub(crate) fn show(&self) -> Value {
        json!({
            "s3": {
                "listen": self.s3.listen.to_string(),
                "domains": self.s3.domains,
                "website-domains": self.s3.website_domains,
                "tls": self.s3.tls.as_ref().map(|tls| json!({
                    "cert": tls.cert.display().to_string(),
                    "key": tls.key.display().to_string(),
                })),
                "region": self.s3.region,
                "signing-region": self.s3.signing_region,
                "presigned-v2": self.s3.presigned_v2,
                "max-connections": self.s3.max_connections,
            },
            "admin": {
                "listen": self.admin.listen.to_string(),
                "token": self.admin.token.as_ref().map(|_| "(set)"),
            },
            "store": {
                "data": self.store.data.display().to_string(),
                "sealing-key": self.store.sealing.current.as_ref().map(|_| "(set)"),
                "old-sealing-key": self.store.sealing.old.as_ref().map(|_| "(set)"),
                "low-space-stop-fills": self.store.low_space_bytes,
                "cache-limit": self.store.cache_limit_bytes,
                "blocks-limit": self.store.blocks_limit_bytes,
                "promote-per-minute": self.store.promote_bytes_per_minute,
            },
            "fill": {
                "client-wait": show_duration(self.fill.client_wait),
                "stall": show_duration(self.fill.stall),
                "max-in-flight": self.fill.max_in_flight,
                "queue": self.fill.queue,
                "per-client": self.fill.per_client,
                "budget": self.fill.budget,
                "client-budget": self.fill.client_budget,
                "negative-ttl": show_duration(self.fill.negative_ttl),
            },
            "network": { "allow-private-origins": self.allow_private_origins },
            "process": { "grace": show_duration(self.grace), "log": self.log },
            "account": self.accounts.iter().map(|account| json!({
                "id": account.id,
                "display-name": account.display_name,
                "email": account.email,
                "access-key": account.access_key,
                "secret-key": "(set)",
            })).collect::<Vec<_>>(),
            "model": self.models.iter().map(|(name, model)| (name.clone(), show_model(model)))
                .collect::<serde_json::Map<_, _>>(),
            "origin": self.origins.iter().map(|(name, origin)| (name.clone(), show_origin(&origin.kind)))
                .collect::<serde_json::Map<_, _>>(),
            "route": self.routes.iter().map(|route| json!({
                "host": route.host,
                "path": route.path,
                "bucket": route.bucket.as_str(),
                "prefix": route.prefix,
                "clean-urls": route.clean_urls,
            })).collect::<Vec<_>>(),
            "bucket": self.buckets.iter().map(|(name, bucket)| (name.to_string(), json!({
                "mode": bucket.mode,
                "public": bucket.public,
                "public-fill": bucket.public_fill,
                "cache-limit": bucket.cache_limit_bytes,
                "quota": bucket.quota_bytes,
                "front": self.fronts.get(name).map(show_front),
                "shadow": bucket.shadow.iter().map(show_rule).collect::<Vec<_>>(),
            }))).collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn show_model(model: &ModelSettings) -> Value {
    match model {
        ModelSettings::Painter => json!({ "kind": "painter" }),
        ModelSettings::Txt2img(txt2img) => json!({
            "kind": "txt2img",
            "url": txt2img.urls.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "checkpoint": txt2img.checkpoint,
            "hedge": txt2img.hedge,
            "user": txt2img.basic.as_ref().map(|(user, _)| user),
            "password": txt2img.basic.as_ref().map(|_| "(set)"),
            "concurrency": txt2img.concurrency,
            "queue": txt2img.queue,
        }),
        ModelSettings::Candle(candle) => json!({
            "kind": "candle",
            "weights": candle.weights,
            "concurrency": candle.concurrency,
            "queue": candle.queue,
        }),
    }
}

fn show_front(front: &AvatarFront) -> Value {
    let addresses = &front.addresses;
    json!({
        "kind": "gravatar",
        "default": addresses.fallback.name(),
        "sizes": addresses.sizes,
        "redirect-hosts": addresses.redirect_hosts,
        "own-pictures": addresses.own_pictures,
        "patience": front.patience.map(show_duration),
    })
}

fn show_origin(kind: &OriginKind) -> Value {
    match kind {
        OriginKind::Avatar { model, style } => {
            json!({ "kind": "avatar", "model": model, "style": style.name() })
        }
        OriginKind::Http { url } => json!({ "kind": "http", "url": url.to_string() }),
        OriginKind::S3 { endpoint, name, region, addressing, credentials, program } => json!({
            "addressing": addressing,
            "kind": if *program { "avatar" } else { "s3" },
            "endpoint": endpoint.to_string(),
            "name": name,
            "region": region,
            "access-key": credentials.as_ref().map(|c| c.access_key.clone()),
        }),
    }
}

fn show_rule(rule: &fallthrough_bucket::ShadowRule) -> Value {
    let mut value = serde_json::to_value(rule).unwrap_or(Value::Null);
    hide_secret(&mut value);
    let members = value.get_mut("members").and_then(Value::as_array_mut);
    members.into_iter().flatten().for_each(hide_secret);
    value
}

fn hide_secret(place: &mut Value) {
    if let Some(credentials) = place.get_mut("credentials").and_then(Value::as_object_mut) {
        credentials.insert("secret-key".to_owned(), json!("(set)"));
    }
}
