// A stand-in accelerator: the device type "standin" for Paddle, whose memory is the host's.
//
// Built by standin.py as libstandin.so; InitPlugin is what Paddle calls. A copy whose addresses
// are on the wrong side ends the process, and copies are counted, so that tests see on any machine
// what a card would not forgive. Kernels are in standin_kernels.cc; Paddle runs those of the CPU
// for all others, and copies there and back.

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "paddle/phi/backends/device_ext.h"

namespace {

constexpr size_t kDevices = 2;           // to see that --device standin:1 is not standin:0

// Bytes of each: of a card with STANDIN_MIB of memory. They are taken only as they are touched.
size_t memory() {
  const char* mebibytes = getenv("STANDIN_MIB");
  return mebibytes ? strtoull(mebibytes, nullptr, 10) << 20 : 16ull << 30;
}

enum Kind { kH2D, kD2H, kD2D, kKinds };
// By kind and by thread: 0 for the main thread, where kernels run, 1 for others: the loader's.
std::atomic<int64_t> copied_bytes[kKinds][2], copied_calls[kKinds][2];

struct Block {
  size_t size;
  int device;
};
std::map<char*, Block> blocks;  // device memory in use, by address
std::mutex blocks_mutex;
size_t used[kDevices];
thread_local int current_device = 0;

// How much of [address, address + size) is device memory: all of one block, none, or some.
enum class Where { kHost, kDevice, kOtherDevice, kAcross };

Where where(const void* address, size_t size, int device) {
  char* begin = const_cast<char*>(static_cast<const char*>(address));
  std::lock_guard<std::mutex> lock(blocks_mutex);
  auto next = blocks.upper_bound(begin);
  if (next != blocks.begin()) {
    auto block = std::prev(next);
    char* end = block->first + block->second.size;
    if (begin < end) {
      if (begin + size > end) return Where::kAcross;
      return block->second.device == device ? Where::kDevice : Where::kOtherDevice;
    }
  }
  return next != blocks.end() && begin + size > next->first ? Where::kAcross : Where::kHost;
}

void check(const char* function, const char* side, const void* address, size_t size, int device,
           Where wanted) {
  Where found = where(address, size, device);
  if (found == wanted) return;
  const char* names[] = {"host memory", "device memory", "another device's memory",
                         "memory that begins or ends outside of a block of the device's"};
  fprintf(stderr, "standin: %s of %zu bytes: want %s in %s, got %p in %s\n", function, size, side,
          names[static_cast<int>(wanted)], address, names[static_cast<int>(found)]);
  fflush(stderr);
  _exit(86);  // not abort: Paddle's handler would print a page, and no core is wanted
}

C_Status copy(Kind kind, const char* function, const C_Device to, const C_Device from, void* dst,
              const void* src, size_t size) {
  if (size == 0) return C_SUCCESS;
  check(function, "destination", dst, size, to->id, kind == kD2H ? Where::kHost : Where::kDevice);
  check(function, "source", src, size, from->id, kind == kH2D ? Where::kHost : Where::kDevice);
  bool loader = gettid() != getpid();
  copied_bytes[kind][loader] += size;
  copied_calls[kind][loader] += 1;
  memmove(dst, src, size);
  return C_SUCCESS;
}

C_Status h2d(const C_Device d, void* dst, const void* src, size_t size) {
  return copy(kH2D, "copy from host to device", d, d, dst, src, size);
}
C_Status d2h(const C_Device d, void* dst, const void* src, size_t size) {
  return copy(kD2H, "copy from device to host", d, d, dst, src, size);
}
C_Status d2d(const C_Device d, void* dst, const void* src, size_t size) {
  return copy(kD2D, "copy within the device", d, d, dst, src, size);
}
C_Status p2p(const C_Device to, const C_Device from, void* dst, const void* src, size_t size) {
  return copy(kD2D, "copy between devices", to, from, dst, src, size);
}

C_Status allocate(const C_Device device, void** address, size_t size) {
  size_t pages = (size + 4095) / 4096 * 4096;
  std::lock_guard<std::mutex> lock(blocks_mutex);
  if (used[device->id] + pages > memory()) return C_FAILED;
  void* block = mmap(nullptr, pages, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return C_FAILED;
  memset(block, 0xff, pages);  // NaN: a card's memory is not zero either
  blocks[static_cast<char*>(block)] = {pages, device->id};
  used[device->id] += pages;
  *address = block;
  return C_SUCCESS;
}

C_Status deallocate(const C_Device device, void* address, size_t) {
  std::lock_guard<std::mutex> lock(blocks_mutex);
  auto block = blocks.find(static_cast<char*>(address));
  if (block == blocks.end()) return C_ERROR;
  used[device->id] -= block->second.size;
  munmap(address, block->second.size);  // what still uses it is killed, as it should be
  blocks.erase(block);
  return C_SUCCESS;
}

C_Status device_set(const C_Device device, void* address, unsigned char value, size_t size) {
  check("memset", "destination", address, size, device->id, Where::kDevice);
  memset(address, value, size);
  return C_SUCCESS;
}

C_Status memory_stats(const C_Device device, size_t* total, size_t* free_memory) {
  *total = memory();
  *free_memory = memory() - used[device->id];
  return C_SUCCESS;
}

C_Status host_allocate(const C_Device, void** address, size_t size) {
  *address = malloc(size);
  return *address ? C_SUCCESS : C_FAILED;
}

C_Status host_deallocate(const C_Device, void* address, size_t) {
  free(address);
  return C_SUCCESS;
}

C_Status of_device(const C_Device) { return C_SUCCESS; }
C_Status set_device(const C_Device device) {
  current_device = device->id;
  return C_SUCCESS;
}
C_Status get_device(const C_Device device) {
  device->id = current_device;
  return C_SUCCESS;
}
C_Status get_device_count(size_t* count) {
  *count = kDevices;
  return C_SUCCESS;
}
C_Status get_device_list(size_t* devices) {
  for (size_t n = 0; n < kDevices; ++n) devices[n] = n;
  return C_SUCCESS;
}

// Everything is done when the call returns: streams and events are names only.
C_Status create_stream(const C_Device, C_Stream* stream) {
  *stream = reinterpret_cast<C_Stream>(new char);
  return C_SUCCESS;
}
C_Status destroy_stream(const C_Device, C_Stream stream) {
  delete reinterpret_cast<char*>(stream);
  return C_SUCCESS;
}
C_Status of_stream(const C_Device, C_Stream) { return C_SUCCESS; }
C_Status stream_add_callback(const C_Device device, C_Stream stream, C_Callback callback,
                             void* data) {
  C_Status status = C_SUCCESS;
  callback(device, stream, data, &status);
  return status;
}
C_Status create_event(const C_Device, C_Event* event) {
  *event = reinterpret_cast<C_Event>(new char);
  return C_SUCCESS;
}
C_Status destroy_event(const C_Device, C_Event event) {
  delete reinterpret_cast<char*>(event);
  return C_SUCCESS;
}
C_Status of_event(const C_Device, C_Event) { return C_SUCCESS; }
C_Status of_stream_and_event(const C_Device, C_Stream, C_Event) { return C_SUCCESS; }

}  // namespace

extern "C" {

// For the test of the checks themselves, with ctypes.
void standin_copy(int kind, int device, void* dst, const void* src, size_t size) {
  C_Device_st place{device};
  copy(static_cast<Kind>(kind), "copy for a test", &place, &place, dst, src, size);
}

// For ctypes. kind is 0: host to device, 1: device to host, 2: device to device; loader is 0: the
// main thread's, 1: other threads'.
int64_t standin_bytes(int kind, int loader) { return copied_bytes[kind][loader]; }
int64_t standin_calls(int kind, int loader) { return copied_calls[kind][loader]; }
void standin_reset() {
  for (int kind = 0; kind < kKinds; ++kind)
    for (int loader = 0; loader < 2; ++loader)
      copied_bytes[kind][loader] = copied_calls[kind][loader] = 0;
}

void InitPlugin(CustomRuntimeParams* params) {
  PADDLE_CUSTOM_RUNTIME_CHECK_VERSION(params);
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
  params->device_type = const_cast<char*>(TEXT(STANDIN_TYPE));
  params->sub_device_type = const_cast<char*>("v1");
  C_DeviceInterface* face = params->interface;
  memset(face, 0, sizeof(*face));
  face->size = sizeof(*face);

  face->initialize = [] { return C_SUCCESS; };
  face->finalize = [] { return C_SUCCESS; };
  face->init_device = face->deinit_device = face->synchronize_device = of_device;
  face->set_device = set_device;
  face->get_device = get_device;
  face->get_device_count = get_device_count;
  face->get_device_list = get_device_list;

  face->create_stream = create_stream;
  face->destroy_stream = destroy_stream;
  face->query_stream = face->synchronize_stream = of_stream;
  face->stream_add_callback = stream_add_callback;
  face->create_event = create_event;
  face->destroy_event = destroy_event;
  face->query_event = face->synchronize_event = of_event;
  face->record_event = face->stream_wait_event = of_stream_and_event;

  face->device_memory_allocate = allocate;
  face->device_memory_deallocate = deallocate;
  face->device_memory_set = device_set;
  face->host_memory_allocate = host_allocate;
  face->host_memory_deallocate = host_deallocate;
  face->device_memory_stats = memory_stats;
  face->device_min_chunk_size = [](const C_Device, size_t* size) {
    *size = 512;
    return C_SUCCESS;
  };

  face->memory_copy_h2d = h2d;
  face->memory_copy_d2h = d2h;
  face->memory_copy_d2d = d2d;
  face->memory_copy_p2p = p2p;
  face->async_memory_copy_h2d = [](const C_Device d, C_Stream, void* dst, const void* src,
                                   size_t size) { return h2d(d, dst, src, size); };
  face->async_memory_copy_d2h = [](const C_Device d, C_Stream, void* dst, const void* src,
                                   size_t size) { return d2h(d, dst, src, size); };
  face->async_memory_copy_d2d = [](const C_Device d, C_Stream, void* dst, const void* src,
                                   size_t size) { return d2d(d, dst, src, size); };
  face->async_memory_copy_p2p = [](const C_Device to, const C_Device from, C_Stream, void* dst,
                                   const void* src, size_t size) {
    return p2p(to, from, dst, src, size);
  };
}

}  // extern "C"
