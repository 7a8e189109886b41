/* Finds strings in a configuration. The proxy hands over one well-formed JSON
 * document, so this trusts its form; it never reads beyond its end all the same. */

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const uint8_t *at, *end;
} json_t;

static uint8_t json_next(json_t *json) {
  return json->at < json->end ? *json->at++ : 0;
}

static uint8_t json_peek(json_t *json) {
  while (json->at < json->end && strchr(" \t\r\n", *json->at)) json->at++;
  return json->at < json->end ? *json->at : 0;
}

static uint32_t json_hex4(json_t *json) {
  uint32_t code = 0;
  for (int digit = 0; digit < 4; digit++) {
    uint8_t c = json_next(json);
    code = code * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
  }
  return code;
}

static size_t json_utf8(uint32_t code, uint8_t *out) {
  if (code < 0x80) {
    out[0] = code;
    return 1;
  }
  int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};
  out[0] = first[more] | code >> 6 * more;
  for (int i = 1; i <= more; i++) out[i] = 0x80 | (code >> 6 * (more - i) & 0x3f);
  return more + 1;
}

static size_t json_escape(json_t *json, uint8_t *out) {
  uint8_t c = json_next(json);
  static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
  const char *name = c ? strchr(names, c) : NULL;
  if (name) c = values[name - names];
  if (c != 'u') {
    out[0] = c;
    return 1;
  }
  uint32_t code = json_hex4(json);
  if (code >= 0xd800 && code < 0xdc00 && json->end - json->at >= 6) {
    json->at += 2; /* the other half of a pair */
    code = 0x10000 + ((code - 0xd800) << 10) + (json_hex4(json) - 0xdc00);
  }
  return json_utf8(code, out);
}

/* From the opening quote to behind the closing one. `out` has room for as many
 * bytes as are left: a string is never longer than what it is written as. */
static size_t json_text(json_t *json, uint8_t *out) {
  size_t length = 0;
  json->at++;
  while (json->at < json->end && *json->at != '"') {
    uint8_t c = *json->at++;
    if (c == '\\')
      length += json_escape(json, out + length);
    else
      out[length++] = c;
  }
  json_next(json);
  return length;
}

/* Behind a value of whatever kind. */
static void json_skip(json_t *json, uint8_t *scratch) {
  int depth = 0;
  do {
    uint8_t c = json_peek(json);
    if (c == '"') {
      json_text(json, scratch);
      continue;
    }
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (json->at < json->end) json->at++;
    if (depth == 0 && !strchr("{}[]", c))
      while (json->at < json->end && !strchr(",}] \t\r\n", *json->at)) json->at++;
  } while (depth > 0 && json->at < json->end);
}

/* The string member of this name of the object that the document is. The caller
 * frees `*value`. */
static bool json_find(const uint8_t *text, size_t length, const char *name,
                      uint8_t **value, size_t *value_length) {
  json_t json = {text, text + length};
  uint8_t *room = malloc(length + 4);
  if (!room) return false;
  json_peek(&json);
  json_next(&json); /* the brace */
  while (json_peek(&json) == '"') {
    size_t key = json_text(&json, room);
    bool is_it = key == strlen(name) && memcmp(room, name, key) == 0;
    json_peek(&json);
    json_next(&json); /* the colon */
    if (json_peek(&json) != '"') {
      json_skip(&json, room);
    } else {
      *value_length = json_text(&json, room);
      if (is_it) {
        *value = room;
        return true;
      }
    }
    if (json_peek(&json) == ',') json.at++;
  }
  free(room);
  return false;
}

#endif
