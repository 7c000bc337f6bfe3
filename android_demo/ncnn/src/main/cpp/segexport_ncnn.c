/* Ncnn.java's methods, by ncnn's C API. */
#include <jni.h>
#include <stdint.h>

#include "c_api.h"

#define NCNN(type, name) JNIEXPORT type JNICALL Java_dev_segexport_ncnn_Ncnn_##name

NCNN(jstring, version)(JNIEnv *env, jclass type) {
    (void)type;
    return (*env)->NewStringUTF(env, ncnn_version());
}

NCNN(jlong, open)(JNIEnv *env, jclass type, jstring param, jstring bin, jint threads, jint floats) {
    (void)type;
    const char *param_path = (*env)->GetStringUTFChars(env, param, NULL);
    if (param_path == NULL) return 0; /* out of memory: the JVM throws */
    const char *bin_path = (*env)->GetStringUTFChars(env, bin, NULL);
    if (bin_path == NULL) {
        (*env)->ReleaseStringUTFChars(env, param, param_path);
        return 0;
    }
    ncnn_option_t option = ncnn_option_create();
    ncnn_option_set_num_threads(option, threads);
    ncnn_option_set_use_vulkan_compute(option, 0);
    ncnn_option_set_use_fp16_packed(option, floats == 1);
    ncnn_option_set_use_fp16_storage(option, floats == 1);
    ncnn_option_set_use_fp16_arithmetic(option, floats == 1);
    ncnn_option_set_use_bf16_packed(option, floats == 2);
    ncnn_option_set_use_bf16_storage(option, floats == 2);
    ncnn_net_t net = ncnn_net_create();
    ncnn_net_set_option(net, option);
    ncnn_option_destroy(option);
    if (ncnn_net_load_param(net, param_path) != 0 || ncnn_net_load_model(net, bin_path) != 0) {
        ncnn_net_destroy(net);
        net = NULL;
    }
    (*env)->ReleaseStringUTFChars(env, bin, bin_path);
    (*env)->ReleaseStringUTFChars(env, param, param_path);
    return (jlong)(intptr_t)net;
}

/* A copy of a mat of 32-bit floats without the gaps between its channels. */
static jfloatArray planes_of(JNIEnv *env, ncnn_mat_t mat, const jint *shape) {
    jsize plane = shape[1] * shape[2] * shape[3];
    jfloatArray made = (*env)->NewFloatArray(env, plane * shape[4]);
    for (jint channel = 0; made != NULL && channel < shape[4]; channel++) {
        (*env)->SetFloatArrayRegion(env, made, channel * plane, plane, ncnn_mat_get_channel_data(mat, channel));
    }
    return made;
}

NCNN(jfloatArray, run)(JNIEnv *env, jclass type, jlong net, jstring input, jstring output, jfloatArray planes, jint height,
                       jint width, jintArray shape) {
    (void)type;
    jfloatArray answer = NULL;
    jint said[5] = {-1, 0, 0, 0, 0};
    const char *input_name = (*env)->GetStringUTFChars(env, input, NULL);
    const char *output_name = input_name == NULL ? NULL : (*env)->GetStringUTFChars(env, output, NULL);
    if (output_name == NULL) return NULL;
    jsize plane = height * width;
    jint channels = (*env)->GetArrayLength(env, planes) / plane;
    ncnn_mat_t given = ncnn_mat_create_3d(width, height, channels, NULL);
    ncnn_extractor_t extractor = ncnn_extractor_create((ncnn_net_t)(intptr_t)net);
    ncnn_mat_t found = NULL;
    if (ncnn_mat_get_data(given) != NULL) {
        for (jint channel = 0; channel < channels; channel++) {
            (*env)->GetFloatArrayRegion(env, planes, channel * plane, plane, ncnn_mat_get_channel_data(given, channel));
        }
        said[0] = ncnn_extractor_input(extractor, input_name, given);
        if (said[0] == 0) said[0] = ncnn_extractor_extract(extractor, output_name, &found);
        if (said[0] == 0 && found != NULL && ncnn_mat_get_elemsize(found) == sizeof(float)) {
            said[0] = ncnn_mat_get_dims(found);
            said[1] = ncnn_mat_get_w(found);
            said[2] = ncnn_mat_get_h(found);
            said[3] = ncnn_mat_get_d(found);
            said[4] = ncnn_mat_get_c(found);
            answer = planes_of(env, found, said);
        }
    }
    if (found != NULL) ncnn_mat_destroy(found);
    ncnn_extractor_destroy(extractor);
    ncnn_mat_destroy(given);
    (*env)->ReleaseStringUTFChars(env, output, output_name);
    (*env)->ReleaseStringUTFChars(env, input, input_name);
    if (!(*env)->ExceptionCheck(env)) (*env)->SetIntArrayRegion(env, shape, 0, 5, said);
    return answer;
}

NCNN(void, close)(JNIEnv *env, jclass type, jlong net) {
    (void)env;
    (void)type;
    ncnn_net_destroy((ncnn_net_t)(intptr_t)net);
}
