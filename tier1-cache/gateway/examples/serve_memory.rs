//! An S3 endpoint over a store in memory, to try clients against:
//! `cargo run --release -p fallthrough-gateway --example serve_memory -- 127.0.0.1:9900`

use std::error::Error;
use std::sync::Arc;

use fallthrough_bucket::{
    AccessKeyRow, BucketSettings, Engine, EngineOptions, PublicAccess, ShadowFactory, ShadowRefused,
    ShadowRule,
};
use fallthrough_gateway::{Gateway, GatewayOptions};
use fallthrough_object::{BucketName, Clock, Entropy, OsEntropy, SystemClock};
use fallthrough_shadow::Shadow;
use fallthrough_store::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Nothing is behind these buckets.
#[derive(Debug)]
struct Nothing;

impl ShadowFactory for Nothing {
    fn shadow(&self, _: &BucketName, _: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        Err(ShadowRefused("this example has no origins".to_owned()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9900".to_owned());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let store = Store::in_memory(StoreOptions::default(), Arc::clone(&clock), Arc::clone(&entropy));
    let engine = Engine::new(
        store,
        Arc::new(Nothing),
        EngineOptions::default(),
        Arc::clone(&clock),
        Arc::clone(&entropy),
    );
    let (id, secret) = ("FTMEMORY", "memory-secret");
    let row = AccessKeyRow {
        id: id.to_owned(),
        secret: secret.to_owned(),
        account: "main".to_owned(),
        created: clock.now(),
        expires: None,
        grants: None,
    };
    engine.put_access_key(row).await?;
    let public =
        BucketSettings { owner: "main".to_owned(), public: PublicAccess::Read, ..BucketSettings::default() };
    engine.create_bucket(&BucketName::parse("public")?, public).await?;
    let listener = TcpListener::bind(&address).await?;
    println!("export AWS_ENDPOINT_URL_S3=http://{}", listener.local_addr()?);
    println!("export AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret} AWS_REGION=us-east-1");
    let gateway = Gateway::new(engine, GatewayOptions::default(), clock, &entropy);
    gateway.serve(listener, CancellationToken::new()).await;
    Ok(())
}
