/* Replaces a word in bodies of requests or of answers. */

#define _GNU_SOURCE /* memmem */

#include "filter.h"
#include "json.h"

/* Longer bodies are refused. */
#define MAX_BODY_BYTES (1 << 20)

/* The proxy checks the operator's `config:` by it, before `create`. */
static const char SCHEMA[] =
    "{\"type\": \"object\", \"required\": [\"find\", \"replace\"],"
    " \"additionalProperties\": false, \"properties\": {"
    "  \"find\": {\"type\": \"string\", \"minLength\": 1,"
    "   \"description\": \"What to look for.\"},"
    "  \"replace\": {\"type\": \"string\", \"description\": \"What takes its place.\"},"
    "  \"in\": {\"enum\": [\"request\", \"response\"], \"default\": \"response\","
    "   \"description\": \"Whose bodies.\"}}}";

/* The filter, with one configuration. */
struct exports_http_filter_filter_t {
  filter_string_t find;
  filter_string_t replace;
  bool in_request;
};

void exports_http_filter_describe(exports_http_filter_manifest_t *manifest) {
  filter_string_dup(&manifest->name, "{{name}}");
  filter_string_dup(&manifest->version, "0.1.0");
  manifest->config_schema.is_some = true;
  filter_string_dup(&manifest->config_schema.val, SCHEMA);
}

static bool member(filter_string_t *config, const char *name, filter_string_t *value) {
  return json_find(config->ptr, config->len, name, &value->ptr, &value->len);
}

static bool is_request(filter_string_t *config) {
  filter_string_t side = {0};
  bool is_it = member(config, "in", &side) && side.len == strlen("request") &&
               memcmp(side.ptr, "request", side.len) == 0;
  filter_string_free(&side);
  return is_it;
}

static void refuse(exports_http_filter_list_config_error_t *errors, const char *at,
                   const char *message) {
  errors->ptr = malloc(sizeof *errors->ptr);
  errors->len = 1;
  filter_string_dup(&errors->ptr->at, at);
  filter_string_dup(&errors->ptr->message, message);
}

bool exports_http_filter_static_filter_create(
    filter_string_t *config, exports_http_filter_own_filter_t *made,
    exports_http_filter_list_config_error_t *errors) {
  exports_http_filter_filter_t *filter = calloc(1, sizeof *filter);
  filter->in_request = is_request(config);
  bool is_good = true;
  if (!member(config, "find", &filter->find) || filter->find.len == 0) {
    refuse(errors, "/find", "nothing to look for");
    is_good = false;
  } else if (!member(config, "replace", &filter->replace)) {
    refuse(errors, "/replace", "not there");
    is_good = false;
  }
  if (is_good)
    *made = exports_http_filter_filter_new(filter);
  else
    exports_http_filter_filter_destructor(filter);
  filter_string_free(config);
  return is_good;
}

void exports_http_filter_filter_destructor(exports_http_filter_filter_t *filter) {
  filter_string_free(&filter->find);
  filter_string_free(&filter->replace);
  free(filter);
}

void exports_http_filter_method_filter_wants(exports_http_filter_filter_t *filter,
                                             exports_http_filter_interest_t *interest) {
  memset(interest, 0, sizeof *interest);
  interest->phases = filter->in_request ? EXPORTS_HTTP_FILTER_PHASES_REQUEST
                                        : EXPORTS_HTTP_FILTER_PHASES_RESPONSE;
  exports_http_filter_list_field_name_t *fields =
      filter->in_request ? &interest->request_fields : &interest->response_fields;
  fields->ptr = malloc(sizeof *fields->ptr);
  fields->len = 1;
  filter_string_dup(fields->ptr, "content-encoding");
}

/* What is compressed cannot be searched. */
static bool begin(exports_http_filter_packed_fields_t *fields,
                  exports_http_filter_verdict_t *verdict) {
  /* What `wants` named: how many values the first field has, and then them. */
  bool is_encoded = fields->len >= 2 && (fields->ptr[0] || fields->ptr[1]);
  exports_http_filter_packed_fields_free(fields);
  if (is_encoded) {
    verdict->tag = EXPORTS_HTTP_FILTER_VERDICT_NEXT;
  } else {
    verdict->tag = EXPORTS_HTTP_FILTER_VERDICT_BUFFER;
    verdict->val.buffer.limit = MAX_BODY_BYTES;
    verdict->val.buffer.overflow = EXPORTS_HTTP_FILTER_OVERFLOW_REJECT;
  }
  return true;
}

static const uint8_t *find(const filter_string_t *word, const uint8_t *at,
                           const uint8_t *end) {
  return memmem(at, end - at, word->ptr, word->len);
}

static bool rewrite(exports_http_filter_filter_t *filter,
                    exports_http_filter_buffered_t *body,
                    exports_http_filter_body_verdict_t *verdict) {
  const filter_string_t *word = &filter->find, *other = &filter->replace;
  const uint8_t *at = body->bytes.ptr, *end = at + body->bytes.len, *found;
  size_t places = 0;
  for (; (found = find(word, at, end)); at = found + word->len) places++;
  if (places == 0) {
    filter_list_u8_free(&body->bytes);
    verdict->tag = EXPORTS_HTTP_FILTER_BODY_VERDICT_KEEP;
    return true;
  }
  filter_list_u8_t *rewritten = &verdict->val.replace;
  rewritten->len = body->bytes.len - places * word->len + places * other->len;
  rewritten->ptr = rewritten->len ? malloc(rewritten->len) : NULL;
  uint8_t *to = rewritten->ptr;
  for (at = body->bytes.ptr; (found = find(word, at, end)); at = found + word->len) {
    memcpy(to, at, found - at);
    to += found - at;
    memcpy(to, other->ptr, other->len);
    to += other->len;
  }
  memcpy(to, at, end - at);
  filter_list_u8_free(&body->bytes);
  verdict->tag = EXPORTS_HTTP_FILTER_BODY_VERDICT_REPLACE;
  return true;
}

bool exports_http_filter_method_filter_on_request(
    exports_http_filter_filter_t *filter, exports_http_filter_packed_fields_t *fields,
    exports_http_filter_verdict_t *verdict, filter_string_t *error) {
  return begin(fields, verdict);
}

bool exports_http_filter_method_filter_on_request_body(
    exports_http_filter_filter_t *filter, exports_http_filter_buffered_t *body,
    exports_http_filter_body_verdict_t *verdict, filter_string_t *error) {
  return rewrite(filter, body, verdict);
}

bool exports_http_filter_method_filter_on_response(
    exports_http_filter_filter_t *filter, exports_http_filter_packed_fields_t *fields,
    exports_http_filter_verdict_t *verdict, filter_string_t *error) {
  return begin(fields, verdict);
}

bool exports_http_filter_method_filter_on_response_body(
    exports_http_filter_filter_t *filter, exports_http_filter_buffered_t *body,
    exports_http_filter_body_verdict_t *verdict, filter_string_t *error) {
  return rewrite(filter, body, verdict);
}

/* Never called: `wants` does not ask for them. */

bool exports_http_filter_method_filter_on_request_trailers(
    exports_http_filter_filter_t *filter, filter_string_t *error) {
  return true;
}

bool exports_http_filter_method_filter_on_response_trailers(
    exports_http_filter_filter_t *filter, filter_string_t *error) {
  return true;
}

void exports_http_filter_method_filter_on_done(exports_http_filter_filter_t *filter) {}

/* No verdict of this filter makes a transform. */

struct exports_http_filter_transform_t {
  char nothing;
};

void exports_http_filter_transform_destructor(exports_http_filter_transform_t *transform) {}

bool exports_http_filter_method_transform_push(exports_http_filter_transform_t *transform,
                                               filter_list_u8_t *chunk,
                                               filter_list_u8_t *ready,
                                               filter_string_t *error) {
  *ready = *chunk;
  return true;
}

bool exports_http_filter_method_transform_finish(
    exports_http_filter_transform_t *transform, filter_list_u8_t *ready,
    filter_string_t *error) {
  *ready = (filter_list_u8_t){0};
  return true;
}
