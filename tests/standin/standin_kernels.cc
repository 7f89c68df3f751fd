// float16 and bfloat16 for the stand-in accelerator: what DenseNet-121 runs in them, both ways.
//
// The CPU has no such kernels to fall back to. Written for being read: a kernel widens its inputs
// to float32, computes there and rounds once, as a card's tensor cores do, so that overflow shows
// where it would. Argument lists are those of paddle/phi/kernels/*.h.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "paddle/phi/capi/all.h"

namespace standin {

using Context = phi::Context;
using Tensor = phi::DenseTensor;
using OptionalTensor = paddle::optional<phi::DenseTensor>;
using Floats = std::vector<float>;

template <typename T>
Floats read(const Tensor& tensor) {
  const T* data = tensor.data<T>();
  return Floats(data, data + tensor.numel());
}

template <typename T>
void write(const Context& context, Tensor* tensor, const Floats& values) {
  T* data = context.Alloc<T>(tensor);
  for (size_t n = 0; n < values.size(); ++n) data[n] = static_cast<T>(values[n]);
}

void want(bool condition, const char* text) {
  if (!condition) throw std::invalid_argument(std::string("standin: want ") + text);
}

// ---- matrix product ----

typedef float Lanes __attribute__((vector_size(32)));  // 8 floats: one AVX register
constexpr int kRows = 6, kColumns = 16, kDepth = 512;  // 12 registers of sums out of 16

// Add rows [R, depth] x panel [depth, 16] to the first `columns` columns of out.
template <int R>
void multiply_block(int64_t depth, const float* rows, int64_t row_stride, const Lanes* panel,
                    float* out, int64_t out_stride, int64_t columns) {
  Lanes sums[R][2] = {};
  for (int64_t k = 0; k < depth; ++k)
    for (int r = 0; r < R; ++r) {
      sums[r][0] += rows[r * row_stride + k] * panel[2 * k];
      sums[r][1] += rows[r * row_stride + k] * panel[2 * k + 1];
    }
  for (int r = 0; r < R; ++r)
    for (int64_t c = 0; c < columns; ++c) out[r * out_stride + c] += sums[r][c / 8][c % 8];
}

// a [M, K] x b [K, N] -> [M, N], all row by row.
Floats multiply(int64_t M, int64_t N, int64_t K, const Floats& a, const Floats& b) {
  Floats out(M * N);
  std::vector<Lanes> panel(2 * kDepth);
  for (int64_t k = 0; k < K; k += kDepth)
    for (int64_t n = 0; n < N; n += kColumns) {
      int64_t depth = std::min<int64_t>(kDepth, K - k);
      int64_t columns = std::min<int64_t>(kColumns, N - n);
      float* packed = reinterpret_cast<float*>(panel.data());
      for (int64_t d = 0; d < depth; ++d)
        for (int64_t c = 0; c < kColumns; ++c)
          packed[d * kColumns + c] = c < columns ? b[(k + d) * N + n + c] : 0;
      int64_t m = 0;
      for (; m + kRows <= M; m += kRows)
        multiply_block<kRows>(depth, &a[m * K + k], K, panel.data(), &out[m * N + n], N, columns);
      for (; m < M; ++m)
        multiply_block<1>(depth, &a[m * K + k], K, panel.data(), &out[m * N + n], N, columns);
    }
  return out;
}

Floats transpose(const Floats& matrix, int64_t rows, int64_t columns) {
  Floats out(matrix.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) out[c * rows + r] = matrix[r * columns + c];
  return out;
}

// ---- windows of convolution and pooling ----

struct Windows {
  int64_t N, C, H, W;              // the input
  int64_t kernel_h, kernel_w;      // the window
  int64_t stride_h, stride_w, top, left, bottom, right, dilation_h, dilation_w;
  int64_t out_h, out_w;

  template <typename Ints>
  Windows(const std::vector<int64_t>& input, int64_t kernel_h, int64_t kernel_w,
          const Ints& strides, const Ints& paddings, const std::vector<int>& dilations,
          const std::vector<int64_t>& output)
      : N(input[0]), C(input[1]), H(input[2]), W(input[3]),
        kernel_h(kernel_h), kernel_w(kernel_w), stride_h(strides[0]), stride_w(strides[1]),
        dilation_h(dilations[0]), dilation_w(dilations[1]), out_h(output[2]), out_w(output[3]) {
    bool four = paddings.size() == 4;  // top, bottom, left, right
    top = paddings[0], bottom = paddings[four ? 1 : 0];
    left = paddings[four ? 2 : 1], right = paddings[four ? 3 : 1];
  }

  int64_t places() const { return out_h * out_w; }
  int64_t rows() const { return C * kernel_h * kernel_w; }

  // Call use(index in images, index in columns) for what images first .. first + count have in
  // columns [C * kernel_h * kernel_w, count * out_h * out_w].
  template <typename Use>
  void each(int64_t first, int64_t count, Use use) const {
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < kernel_h; ++i)
        for (int64_t j = 0; j < kernel_w; ++j) {
          int64_t column = ((c * kernel_h + i) * kernel_w + j) * count * places();
          for (int64_t n = first; n < first + count; ++n)
            for (int64_t y = 0; y < out_h; ++y) {
              int64_t row = y * stride_h - top + i * dilation_h;
              if (row < 0 || row >= H) {
                column += out_w;
                continue;
              }
              int64_t line = ((n * C + c) * H + row) * W;
              for (int64_t x = 0; x < out_w; ++x, ++column) {
                int64_t place = x * stride_w - left + j * dilation_w;
                if (place >= 0 && place < W) use(line + place, column);
              }
            }
        }
  }
};

// [N, C, places] of images first .. first + count -> [C, count * places].
Floats channels_first(const Floats& images, int64_t C, int64_t places, int64_t first,
                      int64_t count) {
  Floats out(C * count * places);
  for (int64_t n = 0; n < count; ++n)
    for (int64_t c = 0; c < C; ++c)
      std::copy_n(&images[((first + n) * C + c) * places], places, &out[(c * count + n) * places]);
  return out;
}

// ---- convolution ----

constexpr int64_t kColumnFloats = 4 << 20;  // of the unfolded images held at a time

int64_t images_at_once(const Windows& windows) {
  int64_t one = windows.rows() * windows.places();
  return std::clamp<int64_t>(kColumnFloats / one, 1, windows.N);
}

Floats unfold(const Windows& windows, const Floats& images, int64_t first, int64_t count) {
  Floats columns(windows.rows() * count * windows.places());
  windows.each(first, count, [&](int64_t image, int64_t column) {
    columns[column] = images[image];
  });
  return columns;
}

void check_conv(const std::string& padding, int groups, const std::string& layout) {
  want(padding == "EXPLICIT", "a convolution with explicit padding");
  want(groups == 1, "a convolution without groups");
  want(layout == "NCHW", "NCHW");
}

template <typename T>
void Conv2d(const Context& context, const Tensor& input, const Tensor& filter,
            const std::vector<int>& strides, const std::vector<int>& paddings,
            const std::string& padding_algorithm, const std::vector<int>& dilations, int groups,
            const std::string& data_format, Tensor* out) {
  check_conv(padding_algorithm, groups, data_format);
  auto shape = filter.dims();
  Windows windows(input.dims(), shape[2], shape[3], strides, paddings, dilations, out->dims());
  Floats images = read<T>(input), weights = read<T>(filter);
  T* result = context.Alloc<T>(out);
  int64_t O = shape[0], places = windows.places(), step = images_at_once(windows);
  for (int64_t first = 0; first < windows.N; first += step) {
    int64_t count = std::min(step, windows.N - first);
    Floats columns = unfold(windows, images, first, count);
    Floats sums = multiply(O, count * places, windows.rows(), weights, columns);
    for (int64_t n = 0; n < count; ++n)
      for (int64_t o = 0; o < O; ++o)
        for (int64_t p = 0; p < places; ++p)
          result[((first + n) * O + o) * places + p] =
              static_cast<T>(sums[(o * count + n) * places + p]);
  }
}

template <typename T>
void Conv2dGrad(const Context& context, const Tensor& input, const Tensor& filter,
                const Tensor& out_grad, const std::vector<int>& strides,
                const std::vector<int>& paddings, const std::string& padding_algorithm,
                const std::vector<int>& dilations, int groups, const std::string& data_format,
                Tensor* input_grad, Tensor* filter_grad) {
  check_conv(padding_algorithm, groups, data_format);
  auto shape = filter.dims();
  Windows windows(input.dims(), shape[2], shape[3], strides, paddings, dilations,
                  out_grad.dims());
  int64_t O = shape[0], K = windows.rows(), places = windows.places();
  int64_t step = images_at_once(windows);
  Floats images = read<T>(input), grads = read<T>(out_grad);
  Floats turned = transpose(read<T>(filter), O, K);  // [K, O]
  Floats of_images(input_grad ? images.size() : 0), of_turned(K * O);
  for (int64_t first = 0; first < windows.N; first += step) {
    int64_t count = std::min(step, windows.N - first), P = count * places;
    Floats grad = channels_first(grads, O, places, first, count);  // [O, P]
    if (input_grad) {
      Floats columns = multiply(K, P, O, turned, grad);
      windows.each(first, count, [&](int64_t image, int64_t column) {
        of_images[image] += columns[column];
      });
    }
    if (filter_grad) {
      Floats columns = unfold(windows, images, first, count);
      Floats sums = multiply(K, O, P, columns, transpose(grad, O, P));
      for (size_t n = 0; n < sums.size(); ++n) of_turned[n] += sums[n];
    }
  }
  if (input_grad) write<T>(context, input_grad, of_images);
  if (filter_grad) write<T>(context, filter_grad, transpose(of_turned, K, O));
}

// ---- pooling ----

template <typename Ints>
Windows pooling(const Tensor& x, std::vector<int64_t> kernel, const Ints& strides,
                const Ints& paddings, const std::string& data_format, bool global, bool adaptive,
                const std::string& padding_algorithm, const std::vector<int64_t>& out) {
  want(data_format == "NCHW" && padding_algorithm == "EXPLICIT", "NCHW, explicit padding");
  auto shape = x.dims();
  bool whole = global || (adaptive && out[2] == 1 && out[3] == 1);
  want(whole || !adaptive, "adaptive pooling to one place");
  if (whole) return Windows(shape, shape[2], shape[3], Ints{1, 1}, Ints{0, 0}, {1, 1}, out);
  return Windows(shape, kernel[0], kernel[1], strides, paddings, {1, 1}, out);
}

// How many places of the image, or of its padding as well, are in each window.
Floats window_sizes(const Windows& windows, bool exclusive) {
  Floats sizes;
  for (int64_t y = 0; y < windows.out_h; ++y)
    for (int64_t x = 0; x < windows.out_w; ++x) {
      int64_t begin_y = y * windows.stride_h - windows.top;
      int64_t begin_x = x * windows.stride_w - windows.left;
      int64_t end_y = std::min(begin_y + windows.kernel_h, windows.H + windows.bottom);
      int64_t end_x = std::min(begin_x + windows.kernel_w, windows.W + windows.right);
      if (exclusive) {
        begin_y = std::max<int64_t>(begin_y, 0), end_y = std::min(end_y, windows.H);
        begin_x = std::max<int64_t>(begin_x, 0), end_x = std::min(end_x, windows.W);
      }
      sizes.push_back((end_y - begin_y) * (end_x - begin_x));
    }
  return sizes;
}

template <typename T>
void Pool2d(const Context& context, const Tensor& x, const phi::IntArray& kernel_size,
            const std::vector<int64_t>& strides, const std::vector<int64_t>& paddings,
            bool ceil_mode, bool exclusive, const std::string& data_format,
            const std::string& pooling_type, bool global_pooling, bool adaptive,
            const std::string& padding_algorithm, Tensor* out) {
  Windows windows = pooling(x, kernel_size.GetData(), strides, paddings, data_format,
                            global_pooling, adaptive, padding_algorithm, out->dims());
  bool max = pooling_type == "max";
  int64_t size = windows.kernel_h * windows.kernel_w, places = windows.N * windows.places();
  Floats images = read<T>(x), result(out->numel(), max ? -INFINITY : 0);
  auto index = [&](int64_t column) {  // [C, size, N, places] -> [N, C, places]
    int64_t c = column / places / size, n = column % places / windows.places();
    return (n * windows.C + c) * windows.places() + column % windows.places();
  };
  windows.each(0, windows.N, [&](int64_t image, int64_t column) {
    float& value = result[index(column)];
    // NaN wins, as in Paddle's kernels.
    if (!max) value += images[image];
    else if (!(images[image] <= value)) value = images[image];
  });
  if (!max) {
    auto sizes = window_sizes(windows, exclusive);
    for (size_t n = 0; n < result.size(); ++n) result[n] /= sizes[n % sizes.size()];
  }
  write<T>(context, out, result);
}

template <typename T>
void Pool2dGrad(const Context& context, const Tensor& x, const Tensor& out, const Tensor& dout,
                const phi::IntArray& kernel_size, const std::vector<int64_t>& strides,
                const std::vector<int64_t>& paddings, bool ceil_mode, bool exclusive,
                const std::string& data_format, const std::string& pooling_type,
                bool global_pooling, bool adaptive, const std::string& padding_algorithm,
                Tensor* dx) {
  Windows windows = pooling(x, kernel_size.GetData(), strides, paddings, data_format,
                            global_pooling, adaptive, padding_algorithm, out.dims());
  bool max = pooling_type == "max";
  int64_t size = windows.kernel_h * windows.kernel_w, places = windows.N * windows.places();
  Floats images = read<T>(x), values = read<T>(out), grads = read<T>(dout), of(images.size());
  std::vector<bool> given(values.size());  // the first of equal maxima gets it all
  auto sizes = window_sizes(windows, exclusive);
  windows.each(0, windows.N, [&](int64_t image, int64_t column) {
    int64_t c = column / places / size, n = column % places / windows.places();
    int64_t place = column % windows.places();
    int64_t index = (n * windows.C + c) * windows.places() + place;
    if (!max) {
      of[image] += grads[index] / sizes[place];
    } else if (!given[index] && images[image] == values[index]) {
      given[index] = true;
      of[image] += grads[index];
    }
  });
  write<T>(context, dx, of);
}

// ---- batch normalisation: x in half precision, everything of a channel in float32 ----

template <typename T>
void BatchNorm(const Context& context, const Tensor& x, const Tensor& mean, const Tensor& variance,
               const OptionalTensor& scale, const OptionalTensor& bias, bool is_test,
               float momentum, float epsilon, const std::string& data_layout,
               bool use_global_stats, bool trainable_statistics, Tensor* y, Tensor* mean_out,
               Tensor* variance_out, Tensor* saved_mean, Tensor* saved_variance,
               Tensor* reserve_space) {
  want(data_layout == "NCHW" && scale && bias, "batch norm in NCHW with scale and bias");
  bool global = use_global_stats || (is_test && !trainable_statistics);
  auto shape = x.dims();
  int64_t N = shape[0], C = shape[1], places = x.numel() / (N * C);
  Floats in = read<T>(x), out(in.size());
  Floats running_mean = read<float>(mean), running_variance = read<float>(variance);
  Floats batch_mean(C), inverse_deviation(C);
  const float *gamma = scale->data<float>(), *beta = bias->data<float>();
  for (int64_t c = 0; c < C; ++c) {
    double m = running_mean[c], v = running_variance[c];
    if (!global) {
      double sum = 0, squares = 0, count = N * places;
      for (int64_t n = 0; n < N; ++n)
        for (int64_t p = 0; p < places; ++p) sum += in[(n * C + c) * places + p];
      m = sum / count;
      for (int64_t n = 0; n < N; ++n)
        for (int64_t p = 0; p < places; ++p) {
          double difference = in[(n * C + c) * places + p] - m;
          squares += difference * difference;
        }
      v = squares / count;
      running_mean[c] = momentum * running_mean[c] + (1 - momentum) * m;
      running_variance[c] = momentum * running_variance[c] + (1 - momentum) * v;
    }
    batch_mean[c] = m;
    inverse_deviation[c] = 1 / std::sqrt(v + epsilon);
    float factor = gamma[c] * inverse_deviation[c], shift = beta[c];
    for (int64_t n = 0; n < N; ++n)
      for (int64_t p = 0; p < places; ++p) {
        int64_t i = (n * C + c) * places + p;
        out[i] = (in[i] - batch_mean[c]) * factor + shift;
      }
  }
  write<T>(context, y, out);
  if (global) return;
  write<float>(context, mean_out, running_mean);
  write<float>(context, variance_out, running_variance);
  write<float>(context, saved_mean, batch_mean);
  write<float>(context, saved_variance, inverse_deviation);  // as Paddle's kernels save it
}

template <typename T>
void BatchNormGrad(const Context& context, const Tensor& x, const OptionalTensor& scale,
                   const OptionalTensor& bias, const OptionalTensor& mean,
                   const OptionalTensor& variance, const Tensor& saved_mean,
                   const Tensor& saved_variance, const OptionalTensor& reserve_space,
                   const Tensor& y_grad, float momentum, float epsilon,
                   const std::string& data_layout, bool is_test, bool use_global_stats,
                   bool trainable_statistics, Tensor* x_grad, Tensor* scale_grad,
                   Tensor* bias_grad) {
  want(data_layout == "NCHW" && scale && bias, "batch norm in NCHW with scale and bias");
  bool global = use_global_stats || is_test;
  auto shape = x.dims();
  int64_t N = shape[0], C = shape[1], places = x.numel() / (N * C);
  Floats in = read<T>(x), grads = read<T>(y_grad), of(in.size()), of_scale(C), of_bias(C);
  Floats centre = read<float>(global ? *mean : saved_mean);
  Floats inverse = read<float>(global ? *variance : saved_variance);
  const float* gamma = scale->data<float>();
  for (int64_t c = 0; c < C; ++c) {
    if (global) inverse[c] = 1 / std::sqrt(inverse[c] + epsilon);
    double sum = 0, products = 0, count = N * places;
    for (int64_t n = 0; n < N; ++n)
      for (int64_t p = 0; p < places; ++p) {
        int64_t i = (n * C + c) * places + p;
        sum += grads[i];
        products += grads[i] * (in[i] - centre[c]) * inverse[c];
      }
    of_bias[c] = sum, of_scale[c] = products;
    if (global) sum = products = 0;
    for (int64_t n = 0; n < N; ++n)
      for (int64_t p = 0; p < places; ++p) {
        int64_t i = (n * C + c) * places + p;
        float normal = (in[i] - centre[c]) * inverse[c];
        of[i] = gamma[c] * inverse[c] * (grads[i] - sum / count - normal * products / count);
      }
  }
  if (x_grad) write<T>(context, x_grad, of);
  if (scale_grad) write<float>(context, scale_grad, of_scale);
  if (bias_grad) write<float>(context, bias_grad, of_bias);
}

// ---- element by element ----

template <typename T>
void Relu(const Context& context, const Tensor& x, Tensor* out) {
  Floats values = read<T>(x);
  for (float& value : values) value = value < 0 ? 0 : value;  // NaN stays
  write<T>(context, out, values);
}

template <typename T>
void ReluGrad(const Context& context, const Tensor& out, const Tensor& dout, Tensor* dx) {
  Floats values = read<T>(out), grads = read<T>(dout);
  for (size_t n = 0; n < grads.size(); ++n) grads[n] = values[n] > 0 ? grads[n] : 0;
  write<T>(context, dx, grads);
}

template <typename T>
void Add(const Context& context, const Tensor& x, const Tensor& y, Tensor* out) {
  want(x.dims() == y.dims(), "sums of gradients alone: one shape");
  Floats sum = read<T>(x), more = read<T>(y);
  for (size_t n = 0; n < sum.size(); ++n) sum[n] += more[n];
  write<T>(context, out, sum);
}

// ---- concatenation ----

// Call use(tensor's part, whole's part, bytes) for all stretches of the parts along an axis.
template <typename T, typename Part, typename Use>
void each_part(const std::vector<Part>& parts, const std::vector<std::vector<int64_t>>& shapes,
               const phi::Scalar& axis_scalar, Use use) {
  int64_t axis = axis_scalar.to<int64_t>(), outer = 1, inner = 1, total = 0, begin = 0;
  if (axis < 0) axis += shapes[0].size();
  for (int64_t d = 0; d < axis; ++d) outer *= shapes[0][d];
  for (size_t d = axis + 1; d < shapes[0].size(); ++d) inner *= shapes[0][d];
  for (auto& shape : shapes) total += shape[axis];
  for (size_t n = 0; n < parts.size(); ++n) {
    int64_t length = shapes[n][axis] * inner;
    if (parts[n])
      for (int64_t o = 0; o < outer; ++o)
        use(parts[n] + o * length, o * total * inner + begin, length * sizeof(T));
    begin += length;
  }
}

template <typename T>
void Concat(const Context& context, const std::vector<const Tensor*>& x, const phi::Scalar& axis,
            Tensor* out) {
  std::vector<std::vector<int64_t>> shapes;
  std::vector<const T*> parts;
  for (auto* part : x) shapes.push_back(part->dims()), parts.push_back(part->data<T>());
  T* whole = context.Alloc<T>(out);
  each_part<T>(parts, shapes, axis, [&](const T* part, int64_t place, size_t bytes) {
    memcpy(whole + place, part, bytes);
  });
}

template <typename T>
void ConcatGrad(const Context& context, const std::vector<const Tensor*>& x,
                const Tensor& out_grad, const phi::Scalar& axis, std::vector<Tensor*> x_grad) {
  std::vector<std::vector<int64_t>> shapes;
  std::vector<T*> parts;
  for (auto* part : x) shapes.push_back(part->dims());
  for (auto* part : x_grad) parts.push_back(part ? context.Alloc<T>(part) : nullptr);
  const T* whole = out_grad.data<T>();
  each_part<T>(parts, shapes, axis, [&](T* part, int64_t place, size_t bytes) {
    memcpy(part, whole + place, bytes);
  });
}

// ---- what the loss scaler and Adam do at level O2, where parameters are in half precision ----

template <typename T>
void CheckFiniteAndUnscale(const Context& context, const std::vector<const Tensor*>& xs,
                           const Tensor& scale, std::vector<Tensor*> outs, Tensor* found_infinite) {
  float inverse = 1 / *scale.data<float>();
  bool found = false;
  for (size_t n = 0; n < xs.size(); ++n) {
    Floats values = read<T>(*xs[n]);
    for (float& value : values) {
      found |= !std::isfinite(value);
      value *= inverse;
    }
    write<T>(context, outs[n], values);
  }
  *context.Alloc<bool>(found_infinite) = found;
}

template <typename T>
void Adam(const Context& context, const Tensor& param, const Tensor& grad,
          const Tensor& learning_rate, const Tensor& moment1, const Tensor& moment2,
          const OptionalTensor& moment2_max, const Tensor& beta1_pow, const Tensor& beta2_pow,
          const OptionalTensor& master_param, const OptionalTensor& skip_update,
          const phi::Scalar& beta1_scalar, const phi::Scalar& beta2_scalar,
          const phi::Scalar& epsilon_scalar, bool lazy_mode,
          int64_t min_row_size_to_use_multithread, bool multi_precision, bool use_global_beta_pow,
          bool amsgrad, Tensor* param_out, Tensor* moment1_out, Tensor* moment2_out,
          Tensor* moment2_max_out, Tensor* beta1_pow_out, Tensor* beta2_pow_out,
          Tensor* master_param_out) {
  want(multi_precision && master_param && !amsgrad && !use_global_beta_pow,
       "Adam with master weights");
  float beta1 = beta1_scalar.to<float>(), beta2 = beta2_scalar.to<float>();
  float epsilon = epsilon_scalar.to<float>(), rate = *learning_rate.data<float>();
  float power1 = *beta1_pow.data<float>(), power2 = *beta2_pow.data<float>();
  Floats weights = read<float>(*master_param), grads = read<T>(grad);
  Floats m = read<float>(moment1), v = read<float>(moment2);
  if (!skip_update || !*skip_update->data<bool>()) {
    float step = rate * std::sqrt(1 - power2) / (1 - power1);
    float bound = epsilon * std::sqrt(1 - power2);
    for (size_t n = 0; n < weights.size(); ++n) {
      m[n] = beta1 * m[n] + (1 - beta1) * grads[n];
      v[n] = beta2 * v[n] + (1 - beta2) * grads[n] * grads[n];
      weights[n] -= step * m[n] / (std::sqrt(v[n]) + bound);
    }
    power1 *= beta1, power2 *= beta2;
  }
  write<T>(context, param_out, weights);
  write<float>(context, moment1_out, m);
  write<float>(context, moment2_out, v);
  write<float>(context, master_param_out, weights);
  write<float>(context, beta1_pow_out, {power1});
  write<float>(context, beta2_pow_out, {power2});
}

}  // namespace standin

// A step more, so that the device type, a macro, is replaced before Paddle's makes a name of it.
#define REGISTER_FOR(device, name, function, ...) \
  PD_BUILD_PHI_KERNEL(name, device, ALL_LAYOUT, standin::function, __VA_ARGS__) {}
#define REGISTER_ALL(name, function, ...) REGISTER_FOR(STANDIN_TYPE, name, function, __VA_ARGS__)
#define REGISTER(name, function) \
  REGISTER_ALL(name, function, phi::dtype::float16, phi::dtype::bfloat16)

REGISTER(conv2d, Conv2d)
REGISTER(conv2d_grad, Conv2dGrad)
REGISTER(pool2d, Pool2d)
REGISTER(pool2d_grad, Pool2dGrad)
REGISTER(batch_norm, BatchNorm)
REGISTER(batch_norm_grad, BatchNormGrad)
REGISTER(relu, Relu)
REGISTER(relu_grad, ReluGrad)
REGISTER(add, Add)
REGISTER(concat, Concat)
REGISTER(concat_grad, ConcatGrad)
REGISTER(adam, Adam)
// In float32 too: falling back, this one leaves the scale, an input, on the CPU.
REGISTER_ALL(check_finite_and_unscale, CheckFiniteAndUnscale, phi::dtype::float16,
             phi::dtype::bfloat16, float)
