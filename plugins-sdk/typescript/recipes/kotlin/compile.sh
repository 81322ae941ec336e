#!/bin/sh
# Compiles src/*.kt to build/js/plugin.mjs. Needs a JDK, and npm's kotlin-compiler beside this plugin or as KOTLIN_HOME.
set -eu
cd "$(dirname "$0")"
home=${KOTLIN_HOME:-node_modules/kotlin-compiler}
[ -d "$home/lib" ] || { echo "no Kotlin compiler in $home; run: npm install kotlin-compiler@2.4.20" >&2; exit 1; }
kotlin() {
  java -cp "$home/lib/kotlin-compiler.jar:$home/lib/kotlin-stdlib.jar:$home/lib/kotlinx-coroutines-core-jvm.jar" \
    org.jetbrains.kotlin.cli.js.K2JSCompiler -libraries "$home/lib/kotlin-stdlib-js.klib" -nowarn "$@"
}
kotlin -ir-output-dir build/klib -ir-output-name plugin src/*.kt
kotlin -ir-output-dir build/js -ir-output-name plugin -Xinclude=build/klib/plugin.klib \
  -Xir-produce-js -Xir-dce -module-kind es -target es2015
