// Configs written out: as YAML that reads back to the same values, and as a reference for people.
#pragma once

#include <map>
#include <string>

#include "launch/config/field.h"

namespace switchyard {

// Every key with its present value, in the order of the structs.
std::string dump_yaml(const Schema& schema);

template <typename Config>
std::string dump_yaml(Config config) {
  return dump_yaml(schema_of(config));
}

// Every key's path and value on one line, for comparing two configs.
std::map<std::string, std::string> flat_values(const Schema& schema);

// Markdown: for each top-level section a table of key, type, default (the present values), rule and meaning.
std::string reference_markdown(const Schema& schema);

}  // namespace switchyard
