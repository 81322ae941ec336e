/** Text by its lines and fields, without copying it. */
#pragma once

#include <array>
#include <charconv>
#include <optional>
#include <string_view>

/** The parts of a text between separators: `for (std::string_view line : Split(body, '\n'))`. */
class Split {
 public:
  Split(std::string_view text, char by) : text_(text), by_(by) {}

  class iterator {
   public:
    iterator(std::string_view rest, char by) : rest_(rest), by_(by) { cut(); }
    std::string_view operator*() const { return part_; }
    iterator &operator++() {
      rest_.remove_prefix(part_.size() < rest_.size() ? part_.size() + 1 : rest_.size());
      cut();
      return *this;
    }
    bool operator==(std::nullptr_t) const { return rest_.empty(); }

   private:
    void cut() { part_ = rest_.substr(0, rest_.find(by_)); }
    std::string_view rest_, part_;
    char by_;
  };

  iterator begin() const { return {text_, by_}; }
  std::nullptr_t end() const { return nullptr; }

 private:
  std::string_view text_;
  char by_;
};

/** The first fields of a line; nothing when there are fewer. */
template <size_t N>
std::optional<std::array<std::string_view, N>> fields(std::string_view line) {
  std::array<std::string_view, N> found;
  size_t count = 0;
  for (std::string_view field : Split(line, ',')) {
    if (count < N) found[count++] = field;
  }
  return count == N ? std::optional(found) : std::nullopt;
}
