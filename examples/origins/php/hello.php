<?php
// A whole origin: /any-bucket/hello falls through to here.  php -S 127.0.0.1:8090 hello.php
// REQUEST_URI is the path as it came; rawurldecode, since urldecode would make spaces of plus signs.
$path = ltrim(explode('?', $_SERVER['REQUEST_URI'], 2)[0], '/');
$key = rawurldecode(explode('/', $path, 2)[1] ?? '');
[$status, $body] = match (true) {
    !in_array($_SERVER['REQUEST_METHOD'], ['GET', 'HEAD']) => [405, "this origin is only read\n"],
    $key === '' => [501, "this origin has no list\n"],
    $key === 'hello' => [200, "hello, world\n"],
    default => [404, "no such key\n"],
};
http_response_code($status);
header('Content-Type: text/plain');
header('Content-Length: ' . strlen($body));
echo $_SERVER['REQUEST_METHOD'] === 'HEAD' ? '' : $body;
