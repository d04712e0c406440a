#include "tensors.h"

#include <array>
#include <cstddef>
#include <new>

namespace nb = nanobind;

namespace fastlstm {
namespace {

// The structures of DLPack 1.3 (dlpack.h), as its binary interface fixes them.
struct Version {
  std::uint32_t major, minor;
};

struct Managed {
  Version version;
  void* context;
  void (*deleter)(Managed*);
  std::uint64_t flags;
  nb::dlpack::dltensor tensor;
};

struct Header {
  Version version;
  Header* previous;
};

struct ExchangeTable {
  Header header;
  int (*allocate)(nb::dlpack::dltensor* prototype, Managed** out, void* context,
                  void (*set_error)(void* context, const char* kind, const char* message));
  int (*managed_from_object)(void* object, Managed** out);
  int (*object_from_managed)(Managed* managed, void** out);
  int (*view_of_object)(void* object, nb::dlpack::dltensor* out);
  int (*current_stream)(int device_type, std::int32_t device, void** out);
};

struct TensorType {
  PyTypeObject* type = nullptr;
  const ExchangeTable* table = nullptr;
};

TensorType known;

}  // namespace

bool learn_tensor_type(nb::handle type) {
  constexpr std::uint32_t known_major = 1;
  known = {};
  if (!PyType_Check(type.ptr())) return false;
  const nb::object capsule = nb::getattr(type, "__dlpack_c_exchange_api__", nb::none());
  const char* const name = "dlpack_exchange_api";
  if (!PyCapsule_IsValid(capsule.ptr(), name)) return false;
  const auto* const table =
      static_cast<const ExchangeTable*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (table->header.version.major != known_major || table->view_of_object == nullptr) return false;
  known = {reinterpret_cast<PyTypeObject*>(type.inc_ref().ptr()), table};
  return true;
}

TensorView::TensorView(nb::handle object) {
  if (known.type == nullptr || !PyType_IsSubtype(Py_TYPE(object.ptr()), known.type)) return;
  if (known.table->view_of_object(object.ptr(), &tensor_) != 0) {
    PyErr_Clear();  // a tensor that has no memory of this kind: not one for a view
    return;
  }
  present_ = tensor_.device.device_type == nb::device::cpu::value && is_contiguous();
}

bool TensorView::has_shape(std::initializer_list<Index> shape) const {
  if (static_cast<std::size_t>(tensor_.ndim) != shape.size()) return false;
  int dimension = 0;
  for (const Index wanted : shape)
    if (size(dimension++) != wanted) return false;
  return true;
}

bool TensorView::is_contiguous() const {
  if (tensor_.strides == nullptr) return true;
  Index expected = 1;
  for (int dimension = tensor_.ndim; dimension-- > 0;) {
    if (size(dimension) != 1 && static_cast<Index>(tensor_.strides[dimension]) != expected)
      return false;
    expected *= size(dimension);
  }
  return true;
}

NewTensor::NewTensor(nb::dlpack::dtype dtype, std::initializer_list<Index> shape) {
  std::array<std::int64_t, 4> sizes{};
  nb::dlpack::dltensor prototype{};
  for (const Index size : shape) sizes[static_cast<std::size_t>(prototype.ndim++)] = size;
  prototype.shape = sizes.data();
  prototype.dtype = dtype;
  prototype.device = {nb::device::cpu::value, 0};
  Managed* managed = nullptr;
  const auto ignore = [](void*, const char*, const char*) {};
  if (known.table == nullptr || known.table->allocate(&prototype, &managed, nullptr, ignore) != 0 ||
      managed == nullptr)
    throw std::bad_alloc();
  managed_ = managed;
}

NewTensor::~NewTensor() {
  auto* const managed = static_cast<Managed*>(managed_);
  if (managed != nullptr && managed->deleter != nullptr) managed->deleter(managed);
}

void* NewTensor::data() const {
  const nb::dlpack::dltensor& tensor = static_cast<const Managed*>(managed_)->tensor;
  return static_cast<char*>(tensor.data) + tensor.byte_offset;
}

nb::object NewTensor::to_python() {
  void* object = nullptr;
  auto* const managed = static_cast<Managed*>(managed_);
  managed_ = nullptr;  // the table's function takes it, whatever becomes of it
  if (known.table->object_from_managed(managed, &object) != 0) throw nb::python_error();
  return nb::steal(static_cast<PyObject*>(object));
}

}  // namespace fastlstm
