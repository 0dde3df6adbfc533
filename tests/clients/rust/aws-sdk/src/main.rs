//! `client-aws-sdk OPERATION ARGUMENT...`: one operation of AWS's SDK for Rust, as its users call it.
//!
//! Endpoint, key and region stand in the environment, as for every S3 client. Ends with 4 where there is no such key, and
//! with 1 at any other failure.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use aws_smithy_types::byte_stream::Length;
use futures::{StreamExt as _, TryStreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes of a part; a file that is no longer is sent whole.
const PART: u64 = 5 * 1024 * 1024;

/// How many files of a tree, or parts of a file, are on their way at once.
const AT_ONCE: usize = 8;

/// How long a presigned address is good for.
const PRESIGNED: Duration = Duration::from_secs(600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&words).await {
        Ok(found) => ExitCode::from(if found { 0 } else { 4 }),
        Err(error) => {
            eprintln!("{}", DisplayErrorContext(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Whether there is what was asked for.
async fn run(words: &[&str]) -> Outcome<bool> {
    if words == ["version"] {
        println!("aws-sdk-s3 {}", aws_sdk_s3::meta::PKG_VERSION);
        return Ok(true);
    }
    let s3 = client()?;
    match *words {
        ["make", bucket] => drop(s3.create_bucket().bucket(bucket).send().await?),
        ["remove", bucket] => drop(s3.delete_bucket().bucket(bucket).send().await?),
        ["put", bucket, key, file] => put(&s3, bucket, key, Path::new(file)).await?,
        ["get", bucket, key, file] => {
            let answer = match s3.get_object().bucket(bucket).key(key).send().await {
                Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => {
                    return Ok(false);
                }
                answer => answer?,
            };
            tokio::fs::write(file, answer.body.collect().await?.into_bytes()).await?;
        }
        ["list", bucket] => {
            for (key, size) in list(&s3, bucket).await? {
                println!("{size} {key}");
            }
        }
        ["range", bucket, key, first, last, file] => {
            let range = format!("bytes={first}-{last}");
            let answer = s3.get_object().bucket(bucket).key(key).range(range).send().await?;
            tokio::fs::write(file, answer.body.collect().await?.into_bytes()).await?;
        }
        ["copy", bucket, key, to] => {
            let source = format!("{bucket}/{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
            s3.copy_object().bucket(bucket).key(to).copy_source(source).send().await?;
        }
        ["delete", bucket, key] => drop(s3.delete_object().bucket(bucket).key(key).send().await?),
        ["presign", bucket, key, method] => {
            let life = PresigningConfig::expires_in(PRESIGNED)?;
            let request = match method {
                "PUT" => s3.put_object().bucket(bucket).key(key).presigned(life).await?,
                _ => s3.get_object().bucket(bucket).key(key).presigned(life).await?,
            };
            println!("{}", request.uri());
        }
        ["upload", bucket, folder, prefix] => upload(&s3, bucket, Path::new(folder), prefix).await?,
        ["more", bucket, key] => conditions(&s3, bucket, key).await?,
        ["clear", bucket] => clear(&s3, bucket).await?,
        _ => return Err(format!("no such operation: {words:?}").into()),
    }
    Ok(true)
}

/// A client as the SDK makes it, but for the HTTP client, which here has no TLS.
fn client() -> Outcome<Client> {
    let read = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let credentials = Credentials::new(
        read("AWS_ACCESS_KEY_ID")?,
        read("AWS_SECRET_ACCESS_KEY")?,
        None,
        None,
        "environment",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(read("AWS_REGION")?))
        .endpoint_url(read("AWS_ENDPOINT_URL_S3")?)
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Ok(Client::from_conf(config.build()))
}

async fn put(s3: &Client, bucket: &str, key: &str, file: &Path) -> Outcome<()> {
    let size = tokio::fs::metadata(file).await?.len();
    if size <= PART {
        let body = ByteStream::from_path(file).await?;
        s3.put_object().bucket(bucket).key(key).body(body).send().await?;
        return Ok(());
    }
    let upload = s3.create_multipart_upload().bucket(bucket).key(key).send().await?;
    let id = upload.upload_id().ok_or("an upload without an id")?;
    let parts = futures::stream::iter(0..size.div_ceil(PART)).map(|index| async move {
        let offset = index * PART;
        let length = Length::Exact(PART.min(size - offset));
        let body = ByteStream::read_from().path(file).offset(offset).length(length).build().await?;
        let number = i32::try_from(index + 1)?;
        let sent =
            s3.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number).body(body).send();
        let sent = sent.await?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        Outcome::Ok(part.set_checksum_crc32(sent.checksum_crc32).build())
    });
    let parts: Vec<_> = parts.buffered(AT_ONCE).try_collect().await?;
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    s3.complete_multipart_upload()
        .bucket(bucket)
        .key(key)
        .upload_id(id)
        .multipart_upload(parts)
        .send()
        .await?;
    Ok(())
}

/// Keys and sizes, in pages of 300.
async fn list(s3: &Client, bucket: &str) -> Outcome<Vec<(String, i64)>> {
    let mut pages = s3.list_objects_v2().bucket(bucket).into_paginator().page_size(300).send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        for object in page?.contents.unwrap_or_default() {
            let key = object.key.ok_or("an object without a key")?;
            found.push((key, object.size.ok_or("an object without a size")?));
        }
    }
    Ok(found)
}

/// Every file below a folder, several at once.
async fn upload(s3: &Client, bucket: &str, folder: &Path, prefix: &str) -> Outcome<()> {
    let mut files = Vec::new();
    files_below(folder, &mut files)?;
    let sent = futures::stream::iter(files).map(|file| async move {
        let name = file.strip_prefix(folder)?.to_str().ok_or("a name that is no text")?;
        put(s3, bucket, &format!("{prefix}/{name}"), &file).await
    });
    sent.buffer_unordered(AT_ONCE).try_collect().await
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files_below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// A key is made once and replaced only by who knows what it holds; a large body in one request comes back whole.
async fn conditions(s3: &Client, bucket: &str, key: &str) -> Outcome<()> {
    let put = || s3.put_object().bucket(bucket).key(key);
    let first = put().if_none_match("*").body(ByteStream::from_static(b"one")).send().await?;
    let status = |answer: Result<_, aws_sdk_s3::error::SdkError<_>>| match answer {
        Ok(_) => None,
        Err(error) => error.raw_response().map(|response| response.status().as_u16()),
    };
    let again = put().if_none_match("*").body(ByteStream::from_static(b"two")).send().await;
    if status(again) != Some(412) {
        return Err("a key was made twice".into());
    }
    let body: Vec<u8> = (0..4 * PART + 1).map(|at| (at % 251) as u8).collect();
    let etag = first.e_tag().ok_or("an object without an ETag")?;
    put().if_match(etag).body(body.clone().into()).send().await?;
    let late = put().if_match(etag).body(ByteStream::from_static(b"three")).send().await;
    if status(late) != Some(412) {
        return Err("an old version was replaced".into());
    }
    let held = s3.get_object().bucket(bucket).key(key).send().await?.body.collect().await?;
    if held.into_bytes() != body {
        return Err("a large body that was sent in one request came back as another".into());
    }
    s3.delete_object().bucket(bucket).key(key).send().await?;
    println!("conditional writes\n20 MiB in one request");
    Ok(())
}

/// Deletes all, 1,000 keys at a time.
async fn clear(s3: &Client, bucket: &str) -> Outcome<()> {
    for keys in list(s3, bucket).await?.chunks(1000) {
        let mut batch = Delete::builder();
        for (key, _) in keys {
            batch = batch.objects(ObjectIdentifier::builder().key(key).build()?);
        }
        let answer = s3.delete_objects().bucket(bucket).delete(batch.build()?).send().await?;
        if !answer.errors().is_empty() || answer.deleted().len() != keys.len() {
            return Err(format!("a batch was not deleted: {answer:?}").into());
        }
    }
    Ok(())
}
