package android.provider;

public final class MediaStore {
    public static final String ACTION_IMAGE_CAPTURE = "android.media.action.IMAGE_CAPTURE";

    public static final String ACTION_PICK_IMAGES = "android.provider.action.PICK_IMAGES";

    public static final String EXTRA_OUTPUT = "output";
}
