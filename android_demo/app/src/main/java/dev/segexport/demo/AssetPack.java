package dev.segexport.demo;

import android.content.res.AssetManager;
import dev.segexport.core.Pack;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;

/** A model that was built into the app: a folder of assets/model, written by `segexport android`. */
final class AssetPack implements Pack {
    private static final String ROOT = "model";
    final String name;
    private final AssetManager assets;

    private AssetPack(AssetManager assets, String name) {
        this.assets = assets;
        this.name = name;
    }

    static List<AssetPack> all(AssetManager assets) {
        List<AssetPack> packs = new ArrayList<>();
        try {
            String[] names = assets.list(ROOT);
            for (String name : names == null ? new String[0] : names) {
                packs.add(new AssetPack(assets, name));
            }
        } catch (IOException noAssets) {
            packs.clear();
        }
        return packs;
    }

    @Override
    public InputStream open(String file) throws IOException {
        return assets.open(ROOT + "/" + name + "/" + file);
    }
}
