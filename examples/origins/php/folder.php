<?php
/*
 * The files of a folder as objects:
 *
 *     touch /srv/uploads/.origin
 *     FOLDER=/srv/uploads PHP_CLI_SERVER_WORKERS=8 php -S 127.0.0.1:8090 folder.php
 *
 * The file `.origin` says that the folder is there: where a disk is not mounted, its folder is empty, and every object of
 * it would seem to be gone. Without that file the answer is 503. Names that begin with a dot are not served, nor links.
 */
declare(strict_types=1);

const TYPES = [
    'css' => 'text/css', 'gif' => 'image/gif', 'html' => 'text/html', 'jpeg' => 'image/jpeg', 'jpg' => 'image/jpeg',
    'js' => 'text/javascript', 'json' => 'application/json', 'mp4' => 'video/mp4', 'pdf' => 'application/pdf',
    'png' => 'image/png', 'svg' => 'image/svg+xml', 'txt' => 'text/plain', 'webp' => 'image/webp',
];
const PIECE_BYTES = 65536;

function answer(int $status, string $body, array $headers = []): never
{
    http_response_code($status);
    foreach (['Content-Type' => 'text/plain', 'Content-Length' => (string) strlen($body), ...$headers] as $name => $value) {
        header("$name: $value");
    }
    echo $_SERVER['REQUEST_METHOD'] === 'HEAD' ? '' : $body;
    exit;
}

/** The file that a key names, or null. No path is made of a key: each name is looked for among those that a folder has. */
function find(string $folder, string $key): ?string
{
    $path = $folder;
    foreach (explode('/', $key) as $name) {
        if (!is_dir($path) || is_link($path)) {
            return null;
        }
        $names = @scandir($path);
        if ($names === false) {
            // It is there and cannot be read: a failure, and not absence.
            answer(500, "the folder cannot be read\n");
        }
        if (str_starts_with($name, '.') || !in_array($name, $names, true)) {
            return null;
        }
        $path .= "/$name";
    }
    return is_file($path) && !is_link($path) ? $path : null;
}

$folder = getenv('FOLDER');
if ($folder === false || !is_file("$folder/.origin")) {
    answer(503, "the folder is not there, or has no .origin\n", ['Retry-After' => '30']);
}
if (!in_array($_SERVER['REQUEST_METHOD'], ['GET', 'HEAD'], true)) {
    answer(405, "this origin is only read\n");
}
$raw = ltrim(explode('?', $_SERVER['REQUEST_URI'], 2)[0], '/');
$key = rawurldecode(explode('/', $raw, 2)[1] ?? '');
if ($key === '') {
    answer(501, "this origin has no list\n");
}
if (preg_match('//u', $key) !== 1) {
    answer(400, "a key is UTF-8\n");
}
$path = find($folder, $key);
if ($path === null) {
    answer(404, "no such key\n");
}
$file = @fopen($path, 'rb');
if ($file === false) {
    answer(500, "the file cannot be read\n");
}
// Of the open file: what has this name may be another one by now.
$about = fstat($file);
$etag = sprintf('"%x-%x-%x"', $about['ino'], $about['size'], $about['mtime']);
$dated = ['ETag' => $etag, 'Last-Modified' => gmdate('D, d M Y H:i:s', $about['mtime']) . ' GMT'];
foreach (explode(',', $_SERVER['HTTP_IF_NONE_MATCH'] ?? '') as $tag) {
    if (in_array(preg_replace('/^W\//', '', trim($tag)), [$etag, '*'], true)) {
        http_response_code(304);
        header("ETag: $etag");
        exit;
    }
}
foreach ($dated as $name => $value) {
    header("$name: $value");
}
header('Content-Type: ' . (TYPES[strtolower(pathinfo($key, PATHINFO_EXTENSION))] ?? 'application/octet-stream'));
header("Content-Length: {$about['size']}");
if ($_SERVER['REQUEST_METHOD'] === 'HEAD') {
    exit;
}
// Exactly as much as promised. If the file is shorter by now, the connection ends too early, and the bucket keeps nothing.
for ($left = $about['size']; $left > 0; $left -= strlen($piece)) {
    $piece = fread($file, min($left, PIECE_BYTES));
    if ($piece === false || $piece === '') {
        exit;
    }
    echo $piece;
    flush();
}
