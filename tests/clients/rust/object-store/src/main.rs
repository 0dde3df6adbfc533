//! `client-object-store OPERATION ARGUMENT...`: one operation of the crate `object_store`, as its users call it.
//!
//! Endpoint, key and region stand in the environment, as for every S3 client. Ends with 4 where there is no such key, and
//! with 1 at any other failure.

use std::error::Error;
use std::path::{Path as File, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::signer::{Method, Signer as _};
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion};
use tokio::io::AsyncWriteExt as _;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Above this a file is sent by the crate's writer, which sends parts.
const WHOLE_MAX: u64 = 1024 * 1024;

/// How many files of a tree are on their way at once.
const AT_ONCE: usize = 16;

/// How long a presigned address is good for.
const PRESIGNED: Duration = Duration::from_secs(600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    // The HTTP client asks for one, TLS or not. It is the only caller: nothing has set another.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(&words).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let missing = error.downcast_ref::<object_store::Error>();
            let missing = missing.is_some_and(|error| matches!(error, object_store::Error::NotFound { .. }));
            eprintln!("{error}");
            ExitCode::from(if missing { 4 } else { 1 })
        }
    }
}

async fn run(words: &[&str]) -> Outcome<()> {
    match *words {
        ["version"] => println!("object_store {}", version()),
        ["put", bucket, key, file] => put(open(bucket)?, Path::parse(key)?, File::new(file)).await?,
        ["get", bucket, key, file] => {
            let answer = open(bucket)?.get(&Path::parse(key)?).await?;
            tokio::fs::write(file, answer.bytes().await?).await?;
        }
        ["list", bucket] => {
            let found: Vec<_> = open(bucket)?.list(None).try_collect().await?;
            for object in found {
                println!("{} {}", object.size, object.location);
            }
        }
        ["range", bucket, key, first, last, file] => {
            let range = first.parse()?..last.parse::<u64>()? + 1;
            tokio::fs::write(file, open(bucket)?.get_range(&Path::parse(key)?, range).await?).await?;
        }
        ["copy", bucket, key, to] => open(bucket)?.copy(&Path::parse(key)?, &Path::parse(to)?).await?,
        ["delete", bucket, key] => open(bucket)?.delete(&Path::parse(key)?).await?,
        ["presign", bucket, key, method] => {
            let method = if method == "PUT" { Method::PUT } else { Method::GET };
            println!("{}", open(bucket)?.signed_url(method, &Path::parse(key)?, PRESIGNED).await?);
        }
        ["upload", bucket, folder, prefix] => upload(open(bucket)?, File::new(folder), prefix).await?,
        ["more", bucket, key] => conditions(&open(bucket)?, &Path::parse(key)?).await?,
        ["clear", bucket] => {
            let store = open(bucket)?;
            let keys = store.list(None).map_ok(|object| object.location).boxed();
            store.delete_stream(keys).try_for_each(|_| futures::future::ok(())).await?;
        }
        _ => return Err(format!("no such operation: {words:?}").into()),
    }
    Ok(())
}

/// The version that is linked: the crate does not tell it.
fn version() -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock.split_once("name = \"object_store\"\nversion = \"");
    entry.and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
}

/// The bucket, by what stands in the environment; without TLS has to be asked for.
fn open(bucket: &str) -> Outcome<AmazonS3> {
    Ok(AmazonS3Builder::from_env().with_bucket_name(bucket).with_allow_http(true).build()?)
}

async fn put(store: AmazonS3, key: Path, file: &File) -> Outcome<()> {
    let bytes = tokio::fs::read(file).await?;
    if bytes.len() as u64 <= WHOLE_MAX {
        store.put(&key, bytes.into()).await?;
    } else {
        let mut writer = BufWriter::new(Arc::new(store), key);
        writer.write_all(&bytes).await?;
        writer.shutdown().await?;
    }
    Ok(())
}

/// Every file below a folder, several at once.
async fn upload(store: AmazonS3, folder: &File, prefix: &str) -> Outcome<()> {
    let mut files = Vec::new();
    files_below(folder, &mut files)?;
    let store = &store;
    let sent = futures::stream::iter(files).map(|file| async move {
        let name = file.strip_prefix(folder)?.to_str().ok_or("a name that is no text")?;
        let payload = PutPayload::from(tokio::fs::read(&file).await?);
        store.put(&Path::parse(format!("{prefix}/{name}"))?, payload).await?;
        Outcome::Ok(())
    });
    sent.buffer_unordered(AT_ONCE).try_collect().await
}

fn files_below(folder: &File, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files_below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// What tables and logs on object stores rest on: a key is made once, and replaced only by who knows what it holds.
async fn conditions(store: &AmazonS3, key: &Path) -> Outcome<()> {
    let put = |body: &'static str, mode: PutMode| {
        store.put_opts(key, PutPayload::from_static(body.as_bytes()), mode.into())
    };
    let first: UpdateVersion = put("one", PutMode::Create).await?.into();
    let again = put("two", PutMode::Create).await;
    if !matches!(again, Err(object_store::Error::AlreadyExists { .. })) {
        return Err(format!("a key was made twice: {again:?}").into());
    }
    put("three", PutMode::Update(first.clone())).await?;
    let late = put("four", PutMode::Update(first)).await;
    if !matches!(late, Err(object_store::Error::Precondition { .. })) {
        return Err(format!("an old version was replaced: {late:?}").into());
    }
    let held = store.get(key).await?.bytes().await?;
    if held != "three" {
        return Err(format!("the key holds {held:?}").into());
    }
    let elsewhere = Path::parse("more/two")?;
    store.rename(key, &elsewhere).await?;
    let copied = store.copy_if_not_exists(&elsewhere, &elsewhere).await;
    if copied.is_ok() {
        return Err("a copy replaced what it must not".into());
    }
    store.delete(&elsewhere).await?;
    println!("conditional writes\nrename");
    Ok(())
}
