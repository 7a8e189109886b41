/* Lets requests pass only with a certain field, and marks the answers to them. */

#include "filter.h"
#include "json.h"

/* The proxy checks the operator's `config:` by it, before `create`. */
static const char SCHEMA[] =
    "{\"type\": \"object\", \"required\": [\"require\"], \"additionalProperties\": false,"
    " \"properties\": {"
    "  \"require\": {\"type\": \"string\", \"minLength\": 1,"
    "   \"description\": \"The request field that must be there.\"},"
    "  \"mark\": {\"type\": \"string\", \"default\": \"passed\","
    "   \"description\": \"The value of `x-checked` on answers.\"}}}";

/* The filter, with one configuration. */
struct exports_http_filter_filter_t {
  filter_string_t require;
  filter_string_t mark;
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
  bool is_good = member(config, "require", &filter->require) && filter->require.len > 0;
  if (!is_good) {
    refuse(errors, "/require", "an empty field name");
    exports_http_filter_filter_destructor(filter);
  } else {
    if (!member(config, "mark", &filter->mark)) filter_string_dup(&filter->mark, "passed");
    *made = exports_http_filter_filter_new(filter);
  }
  filter_string_free(config);
  return is_good;
}

void exports_http_filter_filter_destructor(exports_http_filter_filter_t *filter) {
  filter_string_free(&filter->require);
  filter_string_free(&filter->mark);
  free(filter);
}

void exports_http_filter_method_filter_wants(exports_http_filter_filter_t *filter,
                                             exports_http_filter_interest_t *interest) {
  memset(interest, 0, sizeof *interest);
  interest->phases =
      EXPORTS_HTTP_FILTER_PHASES_REQUEST | EXPORTS_HTTP_FILTER_PHASES_RESPONSE;
  interest->request_fields.ptr = malloc(sizeof *interest->request_fields.ptr);
  interest->request_fields.len = 1;
  filter_string_dup_n(interest->request_fields.ptr, (char *)filter->require.ptr,
                      filter->require.len);
}

static void log_refused(exports_http_filter_filter_t *filter) {
  filter_string_t message;
  filter_string_set(&message, "refused");
  filter_tuple2_string_string_t field = {.f1 = filter->require};
  filter_string_set(&field.f0, "missing");
  filter_list_tuple2_string_string_t fields = {&field, 1};
  log_log(LOG_LEVEL_INFO, &message, &fields);
}

/* What goes back to the proxy is freed once it has it, so all of it is allocated. */
static void respond(exports_http_filter_filter_t *filter,
                    exports_http_filter_reply_t *reply) {
  reply->status = 403;
  reply->headers.ptr = malloc(sizeof *reply->headers.ptr);
  reply->headers.len = 1;
  filter_string_dup(&reply->headers.ptr->f0, "content-type");
  filter_string_t type;
  filter_string_dup(&type, "text/plain");
  reply->headers.ptr->f1.ptr = type.ptr;
  reply->headers.ptr->f1.len = type.len;

  static const char begin[] = "forbidden: no ";
  size_t length = sizeof begin - 1;
  reply->body.len = length + filter->require.len + 1;
  reply->body.ptr = malloc(reply->body.len);
  memcpy(reply->body.ptr, begin, length);
  memcpy(reply->body.ptr + length, filter->require.ptr, filter->require.len);
  reply->body.ptr[reply->body.len - 1] = '\n';
}

bool exports_http_filter_method_filter_on_request(
    exports_http_filter_filter_t *filter, exports_http_filter_packed_fields_t *fields,
    exports_http_filter_verdict_t *verdict, filter_string_t *error) {
  /* What `wants` named: how many values the first field has, and then them. */
  bool is_there = fields->len >= 2 && (fields->ptr[0] || fields->ptr[1]);
  exports_http_filter_packed_fields_free(fields);
  if (is_there) {
    verdict->tag = EXPORTS_HTTP_FILTER_VERDICT_NEXT;
    return true;
  }
  log_refused(filter);
  verdict->tag = EXPORTS_HTTP_FILTER_VERDICT_RESPOND;
  respond(filter, &verdict->val.respond);
  return true;
}

bool exports_http_filter_method_filter_on_response(
    exports_http_filter_filter_t *filter, exports_http_filter_packed_fields_t *fields,
    exports_http_filter_verdict_t *verdict, filter_string_t *error) {
  exports_http_filter_packed_fields_free(fields);
  response_field_name_t name;
  filter_string_set(&name, "x-checked");
  response_field_value_t value = {filter->mark.ptr, filter->mark.len};
  response_head_error_t refused;
  if (!response_set(&name, &value, &refused)) {
    response_head_error_free(&refused);
    filter_string_dup(error, "the mark is no value of a field");
    return false;
  }
  verdict->tag = EXPORTS_HTTP_FILTER_VERDICT_NEXT;
  return true;
}

/* Never called: `wants` does not ask for them, and no body is collected. */

bool exports_http_filter_method_filter_on_request_body(
    exports_http_filter_filter_t *filter, exports_http_filter_buffered_t *body,
    exports_http_filter_body_verdict_t *verdict, filter_string_t *error) {
  filter_list_u8_free(&body->bytes);
  verdict->tag = EXPORTS_HTTP_FILTER_BODY_VERDICT_KEEP;
  return true;
}

bool exports_http_filter_method_filter_on_response_body(
    exports_http_filter_filter_t *filter, exports_http_filter_buffered_t *body,
    exports_http_filter_body_verdict_t *verdict, filter_string_t *error) {
  filter_list_u8_free(&body->bytes);
  verdict->tag = EXPORTS_HTTP_FILTER_BODY_VERDICT_KEEP;
  return true;
}

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
